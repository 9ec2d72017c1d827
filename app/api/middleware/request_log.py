"""Adds the id to the response of every request, and writes one log line at its end."""

import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.refusal_log import RefusalLog
from app.api.request_context import note, noted, notes_of, request_id_of
from app.logs import logger

log = logger(__name__)

_QUIET_PATHS: Final = frozenset(
    {"/noop", "/v1/noop", "/livez", "/readyz", "/metrics", "/v1/dashboard/data", "/v1/dashboard/history"}
)
_STATIC_PATHS: Final = "/dashboard/"
_ROUTINE_PATHS: Final = frozenset({"/v1/sfu"})
"""Heartbeats: thousands a minute without news. A change is an audit event."""


MAX_PATH_CHARACTERS: Final = 200
"""Characters of a path in the log. A path may have 8 KiB."""


class RequestObserver(Protocol):
    """Measures requests."""

    def requested(self, route: str | None, status: int, code: str | None, seconds: float) -> None:
        """A request ended, with the path of its route (`None`: no such route) and the code of its problem."""

    def crashed(self, error: Exception) -> None:
        """A request ended with an unexpected exception."""


class RequestLog:
    """Gives each request its id and writes one line about it; about heartbeats, probes, polls and files of the page
    only when they fail. Refusals of one kind are summed over a second.
    """

    def __init__(
        self,
        app: ASGIApp,
        observers: Sequence[RequestObserver] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`observers` are called for each request; `clock` is in seconds."""
        self.app = app
        self._observers = observers
        self._clock = clock
        self._refusals = RefusalLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, started, status = request_id_of(scope), self._clock(), 500
        id_as_sent = request_id.encode("latin-1")

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", id_as_sent)]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception as error:
            note(scope, code="internal", error=type(error).__name__)
            for observer in self._observers:
                observer.crashed(error)
            raise
        finally:
            duration = self._clock() - started
            route, code = getattr(scope.get("route"), "path", None), noted(scope, "code")
            for observer in self._observers:
                observer.requested(route, status, code, duration)
            is_summed = self._refusals.is_summed(route, status, code, request_id)
            if not is_summed and not _is_routine(scope["path"], status):
                log.log(
                    40 if status == 500 else 20,
                    "request",
                    request_id=request_id,
                    method=scope["method"],
                    path=scope["path"][:MAX_PATH_CHARACTERS],
                    status=status,
                    duration_ms=round(duration * 1000, 2),
                    **notes_of(scope),
                )


def _is_routine(path: str, status: int) -> bool:
    if path in _QUIET_PATHS:
        return status < 500
    return status < 400 and (path in _ROUTINE_PATHS or path.startswith(_STATIC_PATHS))
