"""A span around every request, except probes and streams."""

from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.middleware.request_log import MAX_PATH_CHARACTERS
from app.api.request_context import noted, request_id_of
from app.telemetry.tracing import Tracing

_UNTRACED: Final = frozenset({"/noop", "/v1/noop", "/livez", "/readyz", "/metrics", "/v1/events"})
_NOTED: Final = ("tenant", "region", "sfu", "reason", "tries", "code")
"""The notes of a request that its span gets."""


class TraceRequests:
    """Middleware that makes each request a span with its route, status and notes."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self.app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in _UNTRACED:
            await self.app(scope, receive, send)
            return
        method = scope["method"]
        with self._tracing.request(method, scope["path"][:MAX_PATH_CHARACTERS], Headers(scope=scope)) as span:

            async def send_and_tell(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            span.set_attribute("sfu_gateway.request_id", request_id_of(scope))
            try:
                await self.app(scope, receive, send_and_tell)
            finally:
                route = getattr(scope.get("route"), "path", "")
                span.update_name(f"{method} {route}".strip())
                for name in _NOTED:
                    if (value := noted(scope, name)) is not None:
                        span.set_attribute(f"sfu_gateway.{name}", value)
