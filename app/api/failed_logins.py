"""The rate of invalid credentials per caller: above it, the answer is 429.

Only failures count. A valid credential always passes, because many callers share one address behind a proxy or NAT.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MOST_CALLERS: Final = 4_096
"""Callers remembered. The oldest failure makes room."""


class FailedLogins:
    """A rate of failures per caller (GCRA, https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm)."""

    def __init__(
        self,
        per_minute: float,
        burst: int,
        on_failure: Callable[[], None] = lambda: None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Allow `burst` failures at once and `per_minute` on average. `on_failure` is called for each."""
        self._on_failure = on_failure
        self._interval_s = 60 / per_minute
        self._tolerance_s = burst * self._interval_s
        self._clock = clock
        self._due: OrderedDict[str, float] = OrderedDict()

    def note(self, caller: str) -> bool:
        """Count a failure of `caller`. Returns whether the rate is exceeded."""
        self._on_failure()
        now = self._clock()
        due = max(self._due.get(caller, now), now)
        is_too_often = due + self._interval_s > now + self._tolerance_s
        if not is_too_often:
            self._due[caller] = due + self._interval_s
        if caller in self._due:
            self._due.move_to_end(caller)
        if len(self._due) > MOST_CALLERS:
            self._due.popitem(last=False)
        return is_too_often
