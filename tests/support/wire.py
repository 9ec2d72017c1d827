"""The server's HTTP protocol on a transport in memory: what it answers to bytes that come in given pieces."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httptools
import uvicorn
from starlette.types import Receive, Scope, Send

from app.server.protocol import GuardedState
from app.server.shedding import SheddingHttpProtocol


class MemoryTransport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self._is_reading = True
        self._is_closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("192.0.2.7", 4711), "sockname": ("192.0.2.1", 8071)}.get(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._is_closed:
            self.sent += data

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self._is_closed

    def close(self) -> None:
        self._is_closed = True

    def abort(self) -> None:
        self._is_closed = True


@dataclass(slots=True)
class Answer:
    """One answer."""

    status: int
    body: bytes


@dataclass
class Conversation:
    """What came of some bytes."""

    answers: list[Answer] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    """Method, path and length of the body of each request that the application saw."""
    most_at_once: int = 0
    is_over: bool = False
    """Whether the server ended the connection."""
    held_afterwards: int = 0


class _Reader:
    """Reads answers. Raises `HttpParserError` for what is none."""

    def __init__(self, answers: list[Answer]) -> None:
        self._answers = answers
        self._body = b""
        self.parser = httptools.HttpResponseParser(self)

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        status = self.parser.get_status_code()
        if status >= 200:
            self._answers.append(Answer(status, self._body))
        self._body = b""


async def converse(pieces: Sequence[bytes], *, is_aborted: bool = False) -> Conversation:
    """Give `pieces` to a new connection of the shipped protocol, one iteration apart; return what came of them."""
    said = Conversation()
    running = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal running
        running += 1
        said.most_at_once = max(said.most_at_once, running)
        message = await receive()
        await asyncio.sleep(0)
        said.requests.append(f"{scope['method']} {scope['path']} {len(message.get('body', b''))}")
        # The reader below is not told what was asked: an answer to HEAD announces no body.
        body = b"" if scope["method"] == "HEAD" else said.requests[-1].encode()
        length = str(len(body)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": body})
        running -= 1

    config = uvicorn.Config(
        app, log_config=None, access_log=False, ws="none", lifespan="off", interface="asgi3"
    )
    state = GuardedState()
    transport = MemoryTransport()
    protocol = SheddingHttpProtocol(config, state, {})
    protocol.connection_made(transport)
    for piece in pieces:
        if transport.is_closing():
            break
        protocol.data_received(piece)
        await asyncio.sleep(0)
    if not is_aborted:
        await _settle(lambda: bool(state.tasks) or protocol.is_waiting)
    said.is_over = transport.is_closing() or protocol.is_ending
    protocol.connection_lost(None)
    await _settle(lambda: bool(state.tasks))
    said.held_afterwards = state.held.total
    _Reader(said.answers).parser.feed_data(bytes(transport.sent))
    return said


async def _settle(is_busy: Callable[[], bool]) -> None:
    while is_busy():  # noqa: ASYNC110 - one iteration of the loop after the other
        await asyncio.sleep(0)
