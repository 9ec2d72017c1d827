"""How much more an SFU takes, for people and autoscalers: what placements decide by is in the scripts."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from app.registry.sfus import SfuStatus
from app.settings.model import Settings

_IN_SERVICE: Final = frozenset({"selectable", "half-open", "overloaded", "full"})
"""States of SFUs whose capacity counts: those that are well, however loaded."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Up to where a placement fills an SFU."""

    max_load: float
    weight_sessions: float

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the limits that `[overload]` and `[balancing.weights]` set."""
        return cls(settings.overload.max_load, settings.balancing.weights.sessions)

    def headroom(self, sfu: SfuStatus) -> float:
        """Return how many more sessions `sfu` takes before it is full or overloaded; 0 unless selectable.

        load = weight * sessions / max_sessions + the rest, solved for the sessions that reach `max_load`.
        """
        if not sfu.is_selectable or sfu.max_sessions <= 0:
            return 0.0
        by_count = sfu.max_sessions - sfu.sessions - sfu.reserved
        if self.weight_sessions <= 0:
            return max(0.0, by_count)
        by_load = (self.max_load - sfu.load) * sfu.max_sessions / self.weight_sessions
        return max(0.0, min(by_count, by_load))


@dataclass(slots=True)
class Capacity:
    """What SFUs in service have free and in use, in sessions, added up."""

    free: float = 0.0
    used: float = 0.0
    """Sessions, and reserved ones."""

    def add(self, sfus: Iterable[SfuStatus], limits: Limits) -> None:
        """Add those of `sfus` that are in service."""
        for sfu in sfus:
            if sfu.state in _IN_SERVICE:
                self.free += limits.headroom(sfu)
                self.used += sfu.sessions + sfu.reserved

    @property
    def ratio(self) -> float:
        """Return the free share of what they take at most; 0 when they take nothing more."""
        return self.free / (self.free + self.used) if self.free else 0.0
