"""With `ops.port` set, operators' routes exist on that port only."""

from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.problems import render_http_exception
from app.api.routes import PUBLIC_ROUTES

_NOT_FOUND: Final = HTTPException(404)


class InsideOnly:
    """Answers 404 for operators' routes on every port but `ops_port`, which serves all routes."""

    def __init__(self, app: ASGIApp, ops_port: int) -> None:
        self.app = app
        self._ops_port = ops_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or self._is_inside(scope) or _is_public(scope):
            await self.app(scope, receive, send)
        else:
            await render_http_exception(Request(scope), _NOT_FOUND)(scope, receive, send)

    def _is_inside(self, scope: Scope) -> bool:
        """Whether the connection was accepted on the inner port."""
        server = scope.get("server")
        return server is not None and server[1] == self._ops_port


def _is_public(scope: Scope) -> bool:
    return any(route.matches(scope)[0] is not Match.NONE for route in PUBLIC_ROUTES)
