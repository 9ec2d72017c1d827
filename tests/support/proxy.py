"""A TCP proxy that misbehaves on demand, to stand before Redis or an SFU in chaos tests.

    async with FaultProxy(server.port) as proxy:
        ...                                         # a client of proxy.port works as if it were the server's
        proxy.faults = Faults(latency_seconds=0.2)  # from now on, on old and new connections
        proxy.reset_connections()                   # one-off: every open connection is reset
        await proxy.refuse()                        # new connections are refused ...
        await proxy.listen()                        # ... until now
        proxy.faults = Faults()                     # healed

TCP never delivers what follows a gap. So a connection on which anything was swallowed stays silent until
somebody closes it, even after the proxy is healed: its client must notice by a timeout, and no reply is ever
taken for the answer to another request.
"""

import asyncio
import contextlib
import random
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, TypeAlias

from tests.support.ports import HOST, free_port

_CHUNK_BYTES: Final = 64 * 1024
_QUEUED_REPLIES: Final = 256
_DRIP_SECONDS: Final = 0.05
_LINGER_NONE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER, on, 0 s: closing discards what is unsent and sends RST."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What a proxy does wrong; the default is nothing. All at once is possible."""

    latency_seconds: float = 0
    """Each reply arrives this much later. Throughput is not reduced."""

    black_hole: bool = False
    """Connections are accepted and everything on them is swallowed, both ways: no reply, no FIN, no RST."""

    drop_replies: float = 0
    """The share (0 to 1) of replies that are lost, with all later ones of their connection; the requests were
    carried out. What one read from the target returns counts as one reply."""

    bytes_per_second: float | None = None
    """Each connection gets its replies at this pace: a few bytes at a time."""

    cut_after_bytes: int | None = None
    """Each connection is closed after exactly so many bytes of replies."""


class FaultProxy:
    """Forwards TCP connections from a free port of 127.0.0.1 to a target, less the present `faults`.

    An asynchronous context manager in the running event loop. On exit all connections are closed.
    """

    def __init__(self, target_port: int, target_host: str = HOST, *, seed: int = 0) -> None:
        self.target = (target_host, target_port)
        self.port = free_port()
        self.faults = Faults()
        self.accepted = 0
        """Connections accepted so far."""
        self.lost_replies = 0
        """Replies lost so far by `Faults.drop_replies`, each of which silenced a connection."""
        self._random = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._links: dict[asyncio.Task[None], _Stream] = {}

    async def listen(self) -> None:
        """Accept connections; no effect when it already does."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, HOST, self.port)

    async def refuse(self) -> None:
        """Refuse new connections; open ones go on. No effect when it already does."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def reset_connections(self) -> None:
        """Reset every open connection: its client gets RST."""
        for task, client in self._links.items():
            client.reset()
            task.cancel()

    async def close(self) -> None:
        """Refuse new connections and close all open ones."""
        await self.refuse()
        tasks = list(self._links)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def loses_reply(self) -> bool:
        """Decide the fate of one reply."""
        is_lost = self._random.random() < self.faults.drop_replies
        self.lost_replies += is_lost
        return is_lost

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        client = self._links[task] = _Stream(reader, writer)
        try:
            # asyncio reports a handler that ends cancelled as an error; ours end so when the proxy closes.
            with contextlib.suppress(asyncio.CancelledError):
                await _Link(self, client).run()
        finally:
            client.abort()
            del self._links[task]


class _Stream:
    """One TCP connection. A peer that resets it is taken for one that ends it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self) -> bytes:
        """Return what has arrived; nothing: the peer sends no more."""
        with suppress(ConnectionError):
            return await self._reader.read(_CHUNK_BYTES)
        return b""

    async def send(self, data: bytes) -> None:
        """Send `data`, no faster than the peer reads. Raises `ConnectionError`."""
        self._writer.write(data)
        await self._writer.drain()

    def finish(self) -> None:
        """Send FIN after the last data; the peer may still send."""
        with suppress(OSError):
            self._writer.write_eof()

    async def close(self) -> None:
        """Close after the last data is out."""
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    def reset(self) -> None:
        """Close at once, with RST."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        self.abort()

    def abort(self) -> None:
        """Close at once, whatever is unsent."""
        self._writer.transport.abort()


_Replies: TypeAlias = asyncio.Queue[tuple[float, bytes]]
"""Replies with the loop time at which they are due; the last one is empty."""


class _Link:
    """One connection of a client, and the one to the target that serves it."""

    def __init__(self, proxy: FaultProxy, client: _Stream) -> None:
        self._proxy = proxy
        self._client = client
        self._client_left = asyncio.Event()
        self._swallows_requests = False
        self._swallows_replies = False
        self._sent_bytes = 0

    async def run(self) -> None:
        """Serve the client until both sides are done, or the client leaves a black hole."""
        if self._proxy.faults.black_hole:
            while await self._client.receive():
                pass
            return
        try:
            target = _Stream(*await asyncio.open_connection(*self._proxy.target))
        except OSError:
            self._client.reset()
            return
        try:
            await self._forward(target)
            await self._client.close()
        finally:
            target.abort()

    async def _forward(self, target: _Stream) -> None:
        replies: _Replies = asyncio.Queue(_QUEUED_REPLIES)
        async with asyncio.TaskGroup() as group:
            others = (
                group.create_task(self._forward_requests(target)),
                group.create_task(self._queue_replies(target, replies)),
            )
            await self._forward_replies(replies)
            for task in others:
                task.cancel()

    async def _forward_requests(self, target: _Stream) -> None:
        while request := await self._client.receive():
            self._swallows_requests |= self._proxy.faults.black_hole
            if not self._swallows_requests:
                with suppress(ConnectionError):  # the end of its replies tells the client
                    await target.send(request)
        self._client_left.set()
        target.finish()

    async def _queue_replies(self, target: _Stream, replies: _Replies) -> None:
        now = asyncio.get_running_loop().time
        is_last = False
        while not is_last:
            reply = await target.receive()
            is_last = not reply
            await replies.put((now() + self._proxy.faults.latency_seconds, reply))

    async def _forward_replies(self, replies: _Replies) -> None:
        """Return when it is time to close the connection of the client."""
        now = asyncio.get_running_loop().time
        reply = b"none yet"
        with suppress(ConnectionError):
            while reply and not self._is_cut():
                due, reply = await replies.get()
                await asyncio.sleep(due - now())
                if reply and not self._is_silent() and self._proxy.loses_reply():
                    self._swallows_replies = True
                await self._send(reply)
        if self._is_silent():
            await self._client_left.wait()

    async def _send(self, reply: bytes) -> None:
        while reply and not self._is_cut() and not self._is_silent():
            piece = reply[: self._piece_bytes()]
            await self._client.send(piece)
            self._sent_bytes += len(piece)
            reply = reply[len(piece) :]
            if pace := self._proxy.faults.bytes_per_second:
                await asyncio.sleep(len(piece) / pace)

    def _piece_bytes(self) -> int:
        faults = self._proxy.faults
        limits = [_CHUNK_BYTES]
        if faults.bytes_per_second is not None:
            limits.append(max(1, int(faults.bytes_per_second * _DRIP_SECONDS)))
        if faults.cut_after_bytes is not None:
            limits.append(faults.cut_after_bytes - self._sent_bytes)
        return min(limits)

    def _is_cut(self) -> bool:
        limit = self._proxy.faults.cut_after_bytes
        return limit is not None and self._sent_bytes >= limit

    def _is_silent(self) -> bool:
        self._swallows_replies |= self._proxy.faults.black_hole
        return self._swallows_replies
