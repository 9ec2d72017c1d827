"""Invalid credentials, by caller: the first few are refused at once, more are told to slow down.

Only failures are rated. A credential is always verified first, and a valid one passes whatever else comes from its
address: many callers share one, behind a proxy or NAT.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MOST_CALLERS: Final = 4_096
"""Callers remembered; the one that failed longest ago makes room."""


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
        """Allow `burst` failures at once and `per_minute` on average; tell `on_failure` of each."""
        self._on_failure = on_failure
        self._interval_s = 60 / per_minute
        self._tolerance_s = burst * self._interval_s
        self._clock = clock
        self._due: OrderedDict[str, float] = OrderedDict()

    def note(self, caller: str) -> bool:
        """Count a failure of `caller`; whether it has come too often."""
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
