"""Overload protection of a replica: a limit per kind of work, above which requests are refused at once.

Requests that queue for a saturated event loop all become slow, and Odoo hangs up on all of them. Each kind of work
has its own budget, so a flood of one kind does not refuse another. A request takes its place after its body has
arrived and its credential is verified, so a stranger never has a place.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Final

from app.errors import GatewayError, ReplicaBusy, ViewersFull
from app.logs import logger
from app.settings.model import Settings

log = logger(__name__)

BUSY: Final = "this replica works on as many requests as it can; another one may be free"

_LOG_EVERY_S: Final = 1.0


class Budget:
    """A limit of requests at once. As a context manager it takes one place, or raises `ReplicaBusy`."""

    __slots__ = ("_announced", "_credible", "_inside", "_limit", "_on_refused")

    def __init__(self, limit: int, on_refused: Callable[[], None] = lambda: None) -> None:
        """Allow `limit` at once. `on_refused` is called for each request that a full budget refuses."""
        self._limit = limit
        self._on_refused = on_refused
        self._inside = 0
        self._announced = 0
        self._credible = 0

    @property
    def inside(self) -> int:
        """Places that are taken."""
        return self._inside

    @property
    def is_full(self) -> bool:
        """Whether every place is taken."""
        return self._inside >= self._limit

    def announce(self) -> bool:
        """Return whether there is room for one more request, and count it as on its way in.

        Requests that one iteration of the event loop announces all start in the next one, so they count together.
        """
        if self._inside + self._announced >= self._limit:
            return False
        self._expect()
        self._announced += 1
        return True

    def announce_credible(self) -> bool:
        """As `announce`, for a request with a valid credential: requests without one do not count."""
        if self._inside + self._credible >= self._limit:
            return False
        self._expect()
        self._credible += 1
        return True

    def _expect(self) -> None:
        if self._announced == self._credible == 0:
            asyncio.get_running_loop().call_soon(self._forget_announced)

    def _forget_announced(self) -> None:
        self._announced = self._credible = 0

    def __enter__(self) -> None:
        if self._inside >= self._limit:
            self._on_refused()
            raise ReplicaBusy(BUSY)
        self._inside += 1

    def __exit__(self, *_: object) -> None:
        self._inside -= 1


class Viewers:
    """Limits of event streams: in all, and per caller."""

    def __init__(self, limit: int, per_caller: int) -> None:
        self._limit = limit
        self._per_caller = per_caller
        self._of: Counter[str] = Counter()

    @property
    def inside(self) -> int:
        """Open streams."""
        return self._of.total()

    @contextmanager
    def following(self, caller: str) -> Iterator[None]:
        """Return a context that is one stream of `caller`. Raises `ViewersFull`."""
        if self.inside >= self._limit:
            raise ViewersFull(f"this replica serves {self._limit} event streams at once")
        if self._of[caller] >= self._per_caller:
            raise ViewersFull(f"one caller may follow {self._per_caller} event streams at once")
        self._of[caller] += 1
        try:
            yield
        finally:
            self._of[caller] -= 1
            if not self._of[caller]:
                del self._of[caller]


class EarlyRefusals:
    """Refusals that the application does not see. One log line counts those of a second."""

    def __init__(self, on_refused: Callable[[int, str], None] = lambda _status, _code: None) -> None:
        """`on_refused` is called with status and code of each."""
        self._on_refused = on_refused
        self._unlogged: Counter[str] = Counter()
        self._logged_at = float("-inf")

    def note(self, problem: GatewayError, request_id: str) -> None:
        """Count one refusal."""
        self._on_refused(problem.status, problem.code)
        self._unlogged[problem.code] += 1
        now = asyncio.get_running_loop().time()
        if now - self._logged_at >= _LOG_EVERY_S:
            codes = dict(self._unlogged)
            log.warning(
                "requests_refused", count=sum(codes.values()), codes=codes, last_request_id=request_id
            )
            self._unlogged.clear()
            self._logged_at = now


class Budgets:
    """All budgets of a replica."""

    def __init__(
        self,
        settings: Settings,
        on_shed: Callable[[], None] = lambda: None,
        on_refused_early: Callable[[int, str], None] = lambda _status, _code: None,
    ) -> None:
        limits = settings.limits
        self.channels = Budget(settings.max_concurrent_requests, on_shed)
        self.heartbeats = Budget(limits.max_heartbeats, on_shed)
        self.disconnects = Budget(limits.max_disconnects, on_shed)
        self.operators = Budget(limits.max_operator_requests, on_shed)
        """Routes with the admin token: orders and explanations."""
        self.readers = Budget(limits.max_operator_requests, on_shed)
        """Routes without it: health and the dashboard's data."""
        self.viewers = Viewers(limits.max_viewers, limits.max_viewers_per_caller)
        self.early = EarlyRefusals(on_refused_early)
        self._work = {
            "channel": self.channels,
            "sfu": self.heartbeats,
            "disconnect": self.disconnects,
        }

    def in_progress(self) -> Mapping[str, Callable[[], float]]:
        """Return the requests in progress by kind."""
        kinds: Mapping[str, Budget | Viewers] = {
            "channel": self.channels,
            "heartbeat": self.heartbeats,
            "disconnect": self.disconnects,
            "operator": self.operators,
            "reader": self.readers,
            "viewer": self.viewers,
        }
        return {kind: partial(_inside, budget) for kind, budget in kinds.items()}

    def of_work(self, path: str) -> Budget | None:
        """Return the budget for requests to `path`: channels, heartbeats or disconnects; else `None`."""
        return self._work.get(path.rpartition("/v1/")[2])


def _inside(budget: Budget | Viewers) -> float:
    return float(budget.inside)
