"""Around every request: an id that callers and logs share, and one log line when it is done."""

import re
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.logs import logger

log = logger(__name__)

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET_PATHS: Final = frozenset({"/noop", "/v1/noop", "/livez", "/readyz", "/metrics"})
_NOTES: Final = "log_notes"


def note(scope: Scope, **fields: Any) -> None:
    """Add `fields` to the request's log line. Never a key or a token."""
    scope.setdefault(_NOTES, {}).update(fields)


def request_id_of(scope: Scope) -> str:
    """Return the id of the request: the caller's `X-Request-Id` where it is a sane one, else a new one."""
    if "request_id" not in scope:
        given = Headers(scope=scope).get("x-request-id", "")
        scope["request_id"] = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    return str(scope["request_id"])


class RequestLog:
    """Gives each request its id and writes one line about it; about probes only when they fail."""

    def __init__(self, app: ASGIApp, clock: Callable[[], float] = time.perf_counter) -> None:
        """Wrap `app`; `clock` is in seconds."""
        self.app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, started, status = request_id_of(scope), self._clock(), 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            if status >= 500 or scope["path"] not in _QUIET_PATHS:
                log.log(
                    40 if status == 500 else 20,
                    "request",
                    request_id=request_id,
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    duration_ms=round((self._clock() - started) * 1000, 2),
                    **scope.get(_NOTES, {}),
                )
