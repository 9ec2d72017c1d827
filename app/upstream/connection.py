"""One HTTP/1.1 connection to an SFU: one request at a time, its answer bounded in size, never two mixed up."""

import asyncio
import math
from collections.abc import Callable
from typing import Final, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

MAX_HEAD_BYTES: Final = 32 * 1024
"""Status line and headers, those of interim answers included; no more than this comes without a body, either."""

_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
"""An answer with neither of these headers ends with its connection (RFC 9112, section 6.3)."""

_SWITCHING_PROTOCOLS: Final = 101


class Answer(NamedTuple):
    """What an SFU answered."""

    status: int
    body: bytes
    date: bytes = b""
    """The `Date` header (RFC 9110, section 6.6.1): the time by the SFU's clock."""


class ConnectionDropped(ConnectionError):
    """The connection ended before the first byte of an answer."""


class MalformedAnswer(Exception):
    """What came is not an HTTP/1.1 answer, or not all of one."""


class AnswerTooLong(Exception):
    """The body is longer than was asked for. `status` is the answer's."""

    def __init__(self, status: int) -> None:
        super().__init__("the answer is too long")
        self.status = status


class SfuConnection(asyncio.Protocol):
    """Asks one thing after the other; whoever gives up on an answer has to `close`.

    Bytes that nobody asked for close it: after them no answer could be told from another's.
    """

    _transport: asyncio.Transport
    _parser: HttpResponseParser
    _failure: Exception | None

    def __init__(self, on_lost: Callable[["SfuConnection"], None]) -> None:
        self.idle_since = math.inf
        """Event loop's seconds, infinite while it is in use; its owner's to set."""
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = loop.create_future()
        """Done when nothing of it is left."""
        self._new_future = loop.create_future
        self._on_lost = on_lost
        self._is_open = False
        self._keeps_alive = True
        self._answer: asyncio.Future[Answer] | None = None
        self._forget(0)

    @property
    def is_reusable(self) -> bool:
        """Whether a request may be sent: none is being answered, and both sides are willing."""
        return (
            self._is_open and self._answer is None and self._keeps_alive and not self._transport.is_closing()
        )

    def ask(self, request: bytes, max_bytes: int) -> asyncio.Future[Answer]:
        """Send `request`; return its answer to come, whose body has at most `max_bytes`.

        The future raises:
            ConnectionDropped: the connection ended without a byte of an answer.
            MalformedAnswer: what came is no answer, or not all of one.
            AnswerTooLong: the body is longer.
        """
        answer = self._new_future()
        if not self.is_reusable:
            answer.set_exception(ConnectionDropped("not ready for a request"))
            return answer
        self._forget(max_bytes)
        self._answer = answer
        self._transport.write(request)
        return answer

    def expire(self) -> None:
        """Say that the time for the present answer is over: its future raises `TimeoutError`."""
        self._fail(TimeoutError())

    def close(self) -> None:
        """End the connection at once: nothing more is sent, nothing that comes is heard, who waits is told."""
        self._fail(ConnectionAbortedError("closed by the gateway"))
        self._is_open = False
        self._transport.abort()

    # What the event loop says

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._parser = HttpResponseParser(self)
        self._is_open = True

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.close()
            return
        self._is_unanswered = False
        try:
            self._parse(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._keeps_alive = False
            if not self._is_complete:  # what follows a whole answer does not make it worse
                self._failure = self._failure or MalformedAnswer(str(error))
        if self._failure is not None:
            self._fail(self._failure)
            self.close()
        elif self._is_complete:
            self._succeed()

    def eof_received(self) -> None:
        self._keeps_alive = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_open = False
        if self._is_unanswered:
            self._fail(ConnectionDropped("closed without an answer"))
        elif self._is_in_body and not self._is_framed and exc is None:
            self._succeed()
        else:
            self._fail(MalformedAnswer("the answer was cut short"))
        del self._parser  # it refers to this object, as this one to it
        self._on_lost(self)
        self.lost.set_result(None)

    # What the parser says

    def on_message_begin(self) -> None:
        """An answer begins; one that follows another in the same packet is not asked for, and not read."""
        if self._is_complete:
            raise MalformedAnswer("answered twice")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header is whole."""
        field = name.lower()
        if field in _FRAMING:
            self._is_framed = True
        elif field == b"date":
            self._date = value

    def on_headers_complete(self) -> None:
        """A head is whole: of an interim answer (1xx), or of the one that counts."""
        self._status = self._parser.get_status_code()
        self._is_in_body = self._status >= 200
        if self._status < 100 or self._status == _SWITCHING_PROTOCOLS:
            self._failure = MalformedAnswer(f"answered {self._status}, which nobody asked for")

    def on_body(self, data: bytes) -> None:
        """A part of the body is there."""
        self._size += len(data)
        if self._size > self._max_bytes:
            self._failure = AnswerTooLong(self._status)
        else:
            self._parts.append(data)

    def on_message_complete(self) -> None:
        """An answer is whole; after an interim one the parser goes on with the next."""
        if self._is_in_body:
            self._is_complete = True
            self._keeps_alive = self._parser.should_keep_alive()

    # How they come together

    def _forget(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._patience = MAX_HEAD_BYTES
        self._parts: list[bytes] = []
        self._date = b""
        self._size = self._status = 0
        self._is_unanswered = True
        self._is_framed = self._is_in_body = self._is_complete = False
        self._failure = None

    def _parse(self, data: bytes) -> None:
        """Feed the parser, which keeps a header of any length, no more at once than may lead to nothing."""
        while data:
            piece, data = data[: self._patience], data[self._patience :]
            before = self._size + self._is_in_body
            self._parser.feed_data(piece)
            if self._failure is not None:
                return
            if self._is_complete:
                self._keeps_alive = self._keeps_alive and not data
                return
            is_progress = self._size + self._is_in_body > before
            self._patience = MAX_HEAD_BYTES if is_progress else self._patience - len(piece)
            if not self._patience:
                self._failure = MalformedAnswer(f"{MAX_HEAD_BYTES} bytes led to nothing")
                return

    def _succeed(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result(Answer(self._status, b"".join(self._parts), self._date))

    def _fail(self, error: Exception) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)
