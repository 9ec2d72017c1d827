"""The limit of a request's body. A body over the limit is not read, with or without `Content-Length`."""

from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import render_gateway_error
from app.api.request_context import header_of
from app.errors import BodyTooLarge

MAX_BODY_BYTES: Final = 64 * 1024


class BodyLimit:
    """Refuses bodies of more than `max_bytes` with a problem document, which Starlette's own limit does not."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        """`app` passes on `BodyTooLarge`, or renders it."""
        self.app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = header_of(scope, b"content-length")
        if not announced and not header_of(scope, b"transfer-encoding"):  # no body (RFC 9112, section 6.3)
            await self.app(scope, receive, send)
            return
        if announced.isdecimal() and int(announced) > self._max_bytes:
            await render_gateway_error(Request(scope), _too_large(self._max_bytes))(scope, receive, send)
            return
        await self.app(scope, within_limit(receive, self._max_bytes), send)


def within_limit(receive: Receive, max_bytes: int) -> Receive:
    """Return a `receive` that raises `BodyTooLarge` as soon as the body has more than `max_bytes`."""
    received = 0

    async def receive_within_limit() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > max_bytes:
            raise _too_large(max_bytes)
        return message

    return receive_within_limit


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body has more than {max_bytes} bytes")
