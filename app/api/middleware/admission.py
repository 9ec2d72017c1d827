"""A replica's protection of itself: so much at once and no more, the rest refused at once.

Requests that wait in line for a saturated event loop all get slow together, and Odoo hangs up on all of them.
Under `app.server` most refusals are made before the application is asked (`app.server.shedding`); what is here holds
under any server.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.problems import render_gateway_error
from app.errors import ReplicaBusy
from app.logs import logger

log = logger(__name__)

BUSY: Final = "this replica works on as many requests as it can; another one may be free"

_GUARDED: Final = ("/v1/channel", "/v1/sfu", "/v1/disconnect")
_LOG_EVERY_S: Final = 1.0


def is_guarded(path: str) -> bool:
    """Whether requests for `path` are work. Probes, health and event streams always pass."""
    return path.endswith(_GUARDED)


class Capacity:
    """How many working requests a replica has inside, of how many it may have."""

    def __init__(self, limit: int, on_refused: Callable[[], None] = lambda: None) -> None:
        """Take how many may be inside at once, and who is to hear of each that was refused early."""
        self._limit = limit
        self._on_refused = on_refused
        self._inside = 0
        self._announced = 0
        self._unlogged = 0
        self._logged_at = float("-inf")

    def announce(self) -> bool:
        """Whether there is room for one more, which is then on its way in: this turn of the event loop counts
        those together that all start in the next one.
        """
        if self._inside + self._announced >= self._limit:
            return False
        if self._announced == 0:
            asyncio.get_running_loop().call_soon(self._forget_announced)
        self._announced += 1
        return True

    def _forget_announced(self) -> None:
        self._announced = 0

    def enter(self) -> bool:
        """Take one in, if there is room; whether there was."""
        if self._inside >= self._limit:
            return False
        self._inside += 1
        return True

    def leave(self) -> None:
        """Let one out."""
        self._inside -= 1

    def refused_early(self) -> None:
        """Note a refusal that no application saw. One line tells of all within a second."""
        self._on_refused()
        self._unlogged += 1
        now = asyncio.get_running_loop().time()
        if now - self._logged_at >= _LOG_EVERY_S:
            log.warning("requests_refused", count=self._unlogged, limit=self._limit)
            self._unlogged, self._logged_at = 0, now


class Admission:
    """Lets a bounded number of working requests in."""

    def __init__(self, app: ASGIApp, capacity: Capacity) -> None:
        """Wrap `app`; `capacity` says how many may be inside at once."""
        self.app = app
        self._capacity = capacity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it as `ReplicaBusy`."""
        if scope["type"] != "http" or not is_guarded(scope["path"]):
            await self.app(scope, receive, send)
            return
        if not self._capacity.enter():
            await render_gateway_error(Request(scope), ReplicaBusy(BUSY))(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        finally:
            self._capacity.leave()
