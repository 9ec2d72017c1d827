"""How often something may happen, by name: callers, formats."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MOST_NAMES: Final = 4_096
"""Names remembered. The one that was asked about longest ago makes room."""


class Rates:
    """A rate for each name (GCRA, https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm)."""

    def __init__(self, interval_s: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow `burst` at once and one per `interval_s` on average. `clock` is in seconds."""
        self._interval_s = interval_s
        self._tolerance_s = burst * interval_s
        self._clock = clock
        self._due: OrderedDict[str, float] = OrderedDict()

    def admits(self, name: str) -> bool:
        """Return whether one more is within the rate of `name`, and count it if so."""
        now = self._clock()
        due = max(self._due.get(name, now), now) + self._interval_s
        is_admitted = due <= now + self._tolerance_s
        if is_admitted:
            self._due[name] = due
        if name in self._due:
            self._due.move_to_end(name)
        if len(self._due) > MOST_NAMES:
            self._due.popitem(last=False)
        return is_admitted
