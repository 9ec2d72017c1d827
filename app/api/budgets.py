"""A replica's protection of itself: so much of each kind of work at once, the rest refused at once.

Requests that wait in line for a saturated event loop all get slow together, and Odoo hangs up on all of them. Each
kind of work has a budget of its own, so a flood of one kind refuses no other. A request takes its place after its
body and its credential have been seen, so that a stranger holds none.
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
    """So many requests of one kind at once. As a context, one place; `ReplicaBusy` when there is none."""

    __slots__ = ("_announced", "_credible", "_inside", "_limit", "_on_refused")

    def __init__(self, limit: int, on_refused: Callable[[], None] = lambda: None) -> None:
        """Allow `limit` at once; tell `on_refused` of each that a full budget refuses."""
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
        """Whether there is room for one more, which is then on its way in: one iteration of the event loop counts
        those together that all start in the next one.
        """
        if self._inside + self._announced >= self._limit:
            return False
        self._expect()
        self._announced += 1
        return True

    def announce_credible(self) -> bool:
        """Whether there is room for one more with a valid credential, whatever else is on its way in."""
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
    """Event streams: so many at once, and so many of one caller."""

    def __init__(self, limit: int, per_caller: int) -> None:
        self._limit = limit
        self._per_caller = per_caller
        self._of: Counter[str] = Counter()

    @property
    def inside(self) -> int:
        """Streams that are open."""
        return self._of.total()

    @contextmanager
    def following(self, caller: str) -> Iterator[None]:
        """One stream of `caller`. Raises `ViewersFull`."""
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
    """Refusals that no application sees. One log line tells of all within a second."""

    def __init__(self, on_refused: Callable[[int, str], None] = lambda _status, _code: None) -> None:
        """Tell `on_refused` status and code of each."""
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
        """With the admin token: orders and explanations."""
        self.readers = Budget(limits.max_operator_requests, on_shed)
        """Without: health and the dashboard's data."""
        self.viewers = Viewers(limits.max_viewers, limits.max_viewers_per_caller)
        self.early = EarlyRefusals(on_refused_early)
        self._work = {
            "channel": self.channels,
            "sfu": self.heartbeats,
            "disconnect": self.disconnects,
        }

    def in_progress(self) -> Mapping[str, Callable[[], float]]:
        """Return, for each kind of request, how many hold a place now."""
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
        """Return the budget of the work that `path` stands for: channels, heartbeats and disconnects."""
        return self._work.get(path.rpartition("/v1/")[2])


def _inside(budget: Budget | Viewers) -> float:
    return float(budget.inside)
