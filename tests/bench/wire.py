"""Redis commands recorded as a Registry makes them, and sent as fast as a server takes them."""

import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.connection import Connection

from app.registry.scripts import Argument
from tests.support.engines import RedisServer
from tests.support.ports import HOST

PING: Final = b"*1\r\n$4\r\nPING\r\n"
PONG: Final = b"+PONG\r\n"
NEW: Final = b"$10\r\nleast-load\r\n"
STICKY: Final = b"$6\r\nsticky\r\n"
OK: Final = b"$2\r\nok\r\n"
"""What each reply holds once: of a new placement, of a sticky one, of `heartbeat` and `report`."""

_BATCH: Final = 64
_TIMEOUT_S: Final = 20
_CHUNK_BYTES: Final = 1 << 18


class Recorder:
    """Stands in for a Redis client below a Registry: keeps the script calls, runs none of them."""

    def __init__(self, reply: Sequence[Any]) -> None:
        self._reply = reply
        self.commands: list[bytes] = []

    def as_client(self) -> Redis:
        """Return this recorder under the type a Registry wants; `evalsha` is all it can do."""
        return cast("Redis", self)

    async def evalsha(self, sha: str, numkeys: int, *arguments: Argument) -> Sequence[Any]:
        """Keep one call."""
        self.commands.append(packed("EVALSHA", sha, numkeys, *arguments))
        return self._reply


def packed(*words: Argument) -> bytes:
    """One command as bytes (RESP2 array of bulk strings)."""
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def send_all(port: int, commands: Sequence[bytes], marker: bytes) -> None:
    """Send `commands` in a pipeline over one connection and wait for a reply with `marker` to each.

    The next batch is under way while one is answered: the server never waits for this client.

    Raises:
        AssertionError: an error reply, or replies without `marker`.
    """
    batches = [commands[start : start + _BATCH] for start in range(0, len(commands), _BATCH)]
    with socket.create_connection((HOST, port), timeout=_TIMEOUT_S) as connection:
        replies = _Replies(connection, marker)
        due = 0
        for number, batch in enumerate(batches):
            connection.sendall(b"".join(batch))
            if number > 0:
                due += len(batches[number - 1])
                replies.wait_for(due)
        replies.wait_for(len(commands))


class _Replies:
    """Counts replies by the marker that each of them holds once; parsing them would cost more than Redis does."""

    def __init__(self, connection: socket.socket, marker: bytes) -> None:
        self._connection = connection
        self._marker = marker
        self._rest = b""
        self._count = 0

    def wait_for(self, count: int) -> None:
        while self._count < count:
            try:
                received = self._connection.recv(_CHUNK_BYTES)
            except TimeoutError:
                received = b""
            data = self._rest + received
            assert received, f"a reply without {self._marker!r}; the last ones: {data[-200:]!r}"
            assert b"\n-ERR" not in data, data[:300]
            self._count += data.count(self._marker)
            # Less than a marker is kept, so none is counted twice.
            self._rest = data[-(len(self._marker) - 1) :]


class Postponing:
    """Stands in for a Redis client below a Registry that one task uses: sends calls in batches, in order.

    Calls of scripts whose reply is known wait until one comes whose reply is not; then all go at once. A
    simulation of many heartbeats takes half the time.
    """

    def __init__(self, server: RedisServer, known: Mapping[str, Sequence[Any]]) -> None:
        connect: Any = Connection  # redis-py has no types for it
        self._connection = connect(host=HOST, port=server.port, decode_responses=True, protocol=2)
        self._known = known
        self._waiting: list[tuple[bytes, Sequence[Any]]] = []

    def as_client(self) -> Redis:
        """Return this client under the type a Registry wants; `evalsha` is all it can do."""
        return cast("Redis", self)

    async def evalsha(self, sha: str, numkeys: int, *arguments: Argument) -> Any:
        """Run one script, or promise to."""
        command = packed("EVALSHA", sha, numkeys, *arguments)
        if sha in self._known:
            self._waiting.append((command, self._known[sha]))
            return self._known[sha]
        self._connection.send_packed_command([*(waiting for waiting, _ in self._waiting), command])
        for _, promised in self._waiting:
            reply = self._connection.read_response()
            assert reply[0] == promised[0], reply
        self._waiting.clear()
        return self._connection.read_response()

    def close(self) -> None:
        """Close the connection."""
        self._connection.disconnect()
