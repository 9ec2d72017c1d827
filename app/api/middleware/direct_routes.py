"""The routes that are asked for most, found by method and path: Starlette's router and its wrappers are passed by."""

from collections.abc import Sequence
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.middleware.body_limit import MAX_BODY_BYTES, within_limit
from app.api.problems import render_disconnect, render_gateway_error
from app.errors import GatewayError

WHOLE_RESPONSE: Final = "sfu_gateway.whole_response"
"""Extension of a server (ASGI, section "Extensions") that takes the body in the message `http.response.start`."""

_NO_PARAMETERS: Final[dict[str, str]] = {}


class DirectRoutes:
    """Calls the endpoints of `routes`, whose paths have no parameters; everything else goes to `app`."""

    def __init__(self, app: ASGIApp, routes: Sequence[Route]) -> None:
        self.app = app
        self._routes = {(method, route.path): route for route in routes for method in route.methods or ()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        route = self._routes.get((scope.get("method", ""), scope.get("path", "")))
        if route is None:
            await self.app(scope, receive, send)
            return
        scope["route"], scope["path_params"] = route, _NO_PARAMETERS
        request = Request(scope, within_limit(receive, MAX_BODY_BYTES))
        try:
            response = await route.endpoint(request)
        except GatewayError as error:
            response = render_gateway_error(request, error)
        except ClientDisconnect as error:
            response = render_disconnect(request, error)
        if WHOLE_RESPONSE not in scope.get("extensions", ()):
            await response(scope, receive, send)
            return
        await send(
            {
                "type": "http.response.start",
                "status": response.status_code,
                "headers": response.raw_headers,
                "body": response.body,
            }
        )
