"""A replica's protection of itself: so much at once and no more, the rest refused at once.

Requests that wait in line for a saturated event loop all get slow together, and Odoo hangs up on all of them.
"""

from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import ReplicaBusy
from app.problems import render_gateway_error

_GUARDED: Final = ("/v1/channel", "/v1/sfu", "/v1/disconnect")


class Admission:
    """Lets a bounded number of working requests in. Probes, health and event streams always pass."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        """Wrap `app`; at most `limit` requests are inside at once."""
        self.app = app
        self._limit = limit
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it as `ReplicaBusy`."""
        if scope["type"] != "http" or not scope["path"].endswith(_GUARDED):
            await self.app(scope, receive, send)
            return
        if self._inside >= self._limit:
            busy = ReplicaBusy("this replica works on as many requests as it can; another one may be free")
            await render_gateway_error(Request(scope), busy)(scope, receive, send)
            return
        self._inside += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._inside -= 1
