"""HTTP/1.1 for a port that faces strangers: uvicorn's protocol with limits on how a request arrives.

uvicorn waits for ever for a slow header or body and takes headers of any length. Here a request has to arrive
whole within a few seconds, and its head within a few kilobytes; a connection that breaks either is closed.
"""

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

RECEIVE_SECONDS: Final = 5.0
"""From the connection, or the first byte of a further request, to the last byte of the request."""

MAX_HEAD_BYTES: Final = 32 * 1024
"""Request line and headers. Odoo's are under 2 KiB; tokens may have 8."""


class HeadTooLarge(Exception):
    """Stops the parser; uvicorn answers 400 and closes."""


class GuardedHttpProtocol(HttpToolsProtocol):
    """Closes connections on which a request does not arrive."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _unparsed_bytes = 0
    _is_in_head = True
    _is_incomplete = False
    """Whether a message has begun and not ended. One that came whole needs no timer."""
    _steps = 0
    """How often a message began, its head was complete, or it was."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        steps = self._steps
        super().data_received(data)
        if self._timer is None and (self._is_incomplete or self._steps == steps):
            self._arm()
        if self._is_in_head and self._steps == steps:  # all of it was part of one head
            self._unparsed_bytes += len(data)
            if self._unparsed_bytes > MAX_HEAD_BYTES:
                self.transport.close()

    def on_message_begin(self) -> None:
        self._enter(is_head=True)
        self._is_incomplete = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._enter(is_head=False)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._ended()
        super().on_message_complete()

    def _ended(self) -> None:
        """The message has arrived whole."""
        self._enter(is_head=True)
        self._is_incomplete = False
        self._disarm()

    def _enter(self, *, is_head: bool) -> None:
        self._is_in_head, self._head_bytes, self._unparsed_bytes = is_head, 0, 0
        self._steps += 1

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            raise HeadTooLarge

    def _arm(self) -> None:
        self._timer = self.loop.call_later(RECEIVE_SECONDS, self.transport.abort)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
