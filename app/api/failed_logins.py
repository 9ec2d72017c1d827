"""The rate of invalid credentials per caller: above it, the answer is 429.

Only failures count. A valid credential always passes, because many callers share one address behind a proxy or NAT.
"""

import time
from collections.abc import Callable

from app.rates import Rates


class FailedLogins:
    """A rate of failures per caller."""

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
        self._rates = Rates(60 / per_minute, burst, clock=clock)

    def note(self, caller: str) -> bool:
        """Count a failure of `caller`. Returns whether the rate is exceeded."""
        self._on_failure()
        return not self._rates.admits(caller)
