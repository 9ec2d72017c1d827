"""How many third tries a replica may send: a share of its requests. The second SFU of a request is always asked.

As Envoy's and Finagle's retry budgets: each request puts in a fifth of a retry, a trickle keeps a quiet
replica able to retry at all.
"""

from collections.abc import Callable
from typing import Final

SHARE: Final = 0.2
_FLOOR_PER_SECOND: Final = 1.0
_MOST: Final = 50.0


class RetryBudget:
    """Counts requests in and retries out."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is in seconds. The budget starts full."""
        self._clock = clock
        self._tokens = _MOST
        self._filled_at = clock()

    def deposit(self) -> None:
        """A request came in."""
        now = self._clock()
        trickle = (now - self._filled_at) * _FLOOR_PER_SECOND
        self._filled_at = now
        self._tokens = min(_MOST, self._tokens + SHARE + trickle)

    def withdraw(self) -> bool:
        """Take one retry out, if there is one."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def put_back(self) -> None:
        """Return the retry that was taken out and not sent."""
        self._tokens = min(_MOST, self._tokens + 1)
