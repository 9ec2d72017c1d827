"""Around every request: an id that callers and logs share, and one log line when it is done."""

import re
import time
import uuid
from collections.abc import Callable
from typing import Any, Final, Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.logs import logger

log = logger(__name__)

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET_PATHS: Final = frozenset(
    {"/noop", "/v1/noop", "/livez", "/readyz", "/metrics", "/v1/dashboard/data", "/v1/dashboard/history"}
)
_NOTES: Final = "log_notes"


def note(scope: Scope, **fields: Any) -> None:
    """Add `fields` to the request's log line. Never a key or a token."""
    scope.setdefault(_NOTES, {}).update(fields)


def noted(scope: Scope, name: str) -> Any:
    """Return what was noted about the request as `name`, or `None`."""
    return scope.get(_NOTES, {}).get(name)


def request_id_of(scope: Scope) -> str:
    """Return the id of the request: the caller's `X-Request-Id` where it is a sane one, else a new one."""
    if "request_id" not in scope:
        given = Headers(scope=scope).get("x-request-id", "")
        scope["request_id"] = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    return str(scope["request_id"])


class RequestObserver(Protocol):
    """Whoever measures requests."""

    def requested(self, route: str | None, status: int, code: str | None, seconds: float) -> None:
        """A request ended: the path of its route (`None`: it reached none), and its problem's code."""

    def crashed(self, error: Exception) -> None:
        """A request ended with an exception that nobody expected."""


class RequestLog:
    """Gives each request its id and writes one line about it; about probes and polls only when they fail."""

    def __init__(
        self,
        app: ASGIApp,
        observer: RequestObserver | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Wrap `app`; `observer` hears of each request, `clock` is in seconds."""
        self.app = app
        self._observer = observer
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
        except Exception as error:
            note(scope, code="internal", error=type(error).__name__)
            if self._observer is not None:
                self._observer.crashed(error)
            raise
        finally:
            duration = self._clock() - started
            if self._observer is not None:
                route = getattr(scope.get("route"), "path", None)
                self._observer.requested(route, status, noted(scope, "code"), duration)
            if status >= 500 or scope["path"] not in _QUIET_PATHS:
                log.log(
                    40 if status == 500 else 20,
                    "request",
                    request_id=request_id,
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    duration_ms=round(duration * 1000, 2),
                    **scope.get(_NOTES, {}),
                )
