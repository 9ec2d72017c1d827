"""A server that does on each connection what a script says, byte by byte: well behaved ones are elsewhere."""

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as it came."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """Path and query."""
        return self.line.split(" ")[1]


@dataclass(slots=True, eq=False)
class Peer:
    """The server's side of one connection."""

    number: int
    """How many came before it."""
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: list[Request]

    async def request(self) -> Request:
        """Return the next request. Raises `asyncio.IncompleteReadError` when there is none."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("ascii")
        line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        headers = dict(text.split(": ", 1) for text in lines)
        body = await self.reader.readexactly(int(headers.get("Content-Length", "0")))
        self.requests.append(Request(line, headers, body))
        return self.requests[-1]

    async def send(self, *pieces: bytes) -> None:
        """Send the pieces. Raises `ConnectionError` when the client has closed the connection."""
        for piece in pieces:
            if self.writer.is_closing():
                raise ConnectionResetError
            self.writer.write(piece)
            await self.writer.drain()

    async def closed(self) -> None:
        """Wait until the client has closed the connection."""
        with suppress(ConnectionError):
            while await self.reader.read(65_536):
                pass


Script: TypeAlias = Callable[[Peer], Awaitable[None]]
"""What happens on one connection, which is closed when it returns."""


@dataclass(slots=True)
class ScriptedServer:
    """What is known of a running server."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    """All that came, on whichever connection."""
    accepted: int = 0
    """Connections that were made, TLS included."""
    open: set[Peer] = field(default_factory=set)
    """Those whose script still runs."""

    @property
    def address(self) -> str:
        """Where it is, without TLS."""
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def scripted_server(
    script: Script, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedServer]:
    """Run a server whose connections do as `script` says; scripts still running at the end are cancelled."""
    known, numbers = ScriptedServer(), itertools.count()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        peer = Peer(next(numbers), reader, writer, known.requests)
        known.accepted += 1
        known.open.add(peer)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await script(peer)
        finally:
            known.open.discard(peer)
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, host, port, ssl=tls)
    known.port = server.sockets[0].getsockname()[1]
    try:
        yield known
    finally:
        server.close()
        for peer in tuple(known.open):
            peer.writer.transport.abort()
        for task in tuple(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def answer(
    body: bytes = b'{"uuid": "x", "url": "http://sfu"}', *headers: bytes, status: bytes = b"200 OK"
) -> bytes:
    """Return a whole answer with `body` and its length."""
    lines = (b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def answers_always(peer: Peer) -> None:
    """Answer each request on one connection, as an SFU does."""
    while True:
        await peer.request()
        await peer.send(answer())
