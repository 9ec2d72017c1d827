"""How many channels this replica has created and refused in the last hour, and heartbeats it has refused.

One replica's share of the fleet's traffic, kept in memory. Long-term figures are Prometheus' job.
"""

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

CREATED: Final = "created"

_CHANNEL_ROUTES: Final = frozenset({"/v1/channel", "/r/{region}/v1/channel"})

_HEARTBEAT_ROUTE: Final = "/v1/sfu"

_SLOT_S: Final = 5
_SLOTS_PER_MINUTE: Final = 60 // _SLOT_S
_MINUTES: Final = 60


class OutcomeCounter:
    """How requests ended, by a word each. At most 720 slots of 5 s."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds."""
        self._clock = clock
        self._slots: deque[tuple[int, Counter[str]]] = deque(maxlen=_MINUTES * _SLOTS_PER_MINUTE)

    def count(self, outcome: str) -> None:
        """Note how one request ended."""
        slot = self._slot()
        if not self._slots or self._slots[-1][0] != slot:
            self._slots.append((slot, Counter()))
        self._slots[-1][1][outcome] += 1

    def last_minute(self) -> Counter[str]:
        """Return outcomes of the last 60 s, to the slot."""
        return self._since(_SLOTS_PER_MINUTE)

    def last_hour(self) -> Counter[str]:
        """Return outcomes of the last hour."""
        return self._since(_MINUTES * _SLOTS_PER_MINUTE)

    def _since(self, slots: int) -> Counter[str]:
        oldest, total = self._slot() - slots, Counter[str]()
        for slot, outcomes in reversed(self._slots):
            if slot <= oldest:
                break
            total.update(outcomes)
        return total

    def _slot(self) -> int:
        return int(self._clock() // _SLOT_S)


class ChannelCounter(OutcomeCounter):
    """Outcomes of channel requests: `created`, or the code of the problem."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds."""
        super().__init__(clock)
        self.refused_heartbeats = OutcomeCounter(clock)
        """Heartbeats that were refused for what they are (4xx), by code."""

    def requested(self, route: str | None, status: int, code: str | None, _seconds: float) -> None:
        """A request ended (`app.api.request_context.RequestObserver`): note how, for a channel or a heartbeat."""
        if route in _CHANNEL_ROUTES:
            self.count(CREATED if status < 400 else code or f"http_{status}")
        elif route == _HEARTBEAT_ROUTE and 400 <= status < 500:
            self.refused_heartbeats.count(code or f"http_{status}")

    def crashed(self, error: Exception) -> None:
        """Take no note: the request has ended too, and is counted for that."""

    def created_by_minute(self) -> list[int]:
        """Return created channels of each of the last 60 minutes, oldest first."""
        now, minutes = self._slot(), [0] * _MINUTES
        for slot, outcomes in self._slots:
            minutes_ago = (now - slot) // _SLOTS_PER_MINUTE
            if minutes_ago < _MINUTES:
                minutes[_MINUTES - 1 - minutes_ago] += outcomes[CREATED]
        return minutes
