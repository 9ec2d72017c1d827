"""The facts of a diagnosis. A replica reads them, or the command line from Redis."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from app.diagnosis.trouble import Trouble
from app.registry.availability import Mode
from app.registry.capacity import Limits
from app.registry.examination import Finding
from app.registry.signs import Signs
from app.registry.trouble import Trouble as RedisTrouble
from app.settings.model import Settings


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the settings call too much. Times in ms, shares from 0 to 1."""

    limits: Limits
    threshold_ms: int
    ping_ms: int
    failure_threshold: int
    max_load: float
    max_cpu: float
    max_memory: float

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the bounds of `settings`."""
        return cls(
            limits=Limits.from_settings(settings),
            threshold_ms=round(settings.health.unhealthy_threshold * 1000),
            ping_ms=settings.next_ping_ms,
            failure_threshold=settings.breaker.failure_threshold,
            max_load=settings.overload.max_load,
            max_cpu=settings.overload.max_cpu,
            max_memory=settings.overload.max_memory,
        )


@dataclass(frozen=True, slots=True)
class FleetReport:
    """What the SFUs of a fleet show."""

    troubles: tuple[Trouble, ...] = ()
    living: int = 0
    selectable: int = 0
    calls: int = 0
    people: int = 0

    @property
    def summary(self) -> str:
        """Return the fleet in one line. Without Redis a replica knows the people, and not the calls."""
        calls = f"{plural(self.calls, 'call')}, " if self.calls or not self.people else ""
        people = plural(self.people, "person", "people")
        return f"{self.selectable} of {plural(self.living, 'SFU')} selectable, {calls}{people}"


def plural(count: int, one: str, many: str = "") -> str:
    """Return `count` with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


@dataclass(frozen=True, slots=True)
class ReplicaFacts:
    """One replica, as it sees itself."""

    name: str
    """Its host."""
    mode: Mode = "available"
    mode_for_ms: int = 0
    """For how long it has not placed by the registry; 0 while it does."""
    snapshot_size: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """How channel requests of the last minute ended: `created`, or the code of the problem."""
    refused_heartbeats: Counter[str] = field(default_factory=Counter)
    """Heartbeats of the last minute that were refused for what they are, by code."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that is known at one moment."""

    bounds: Bounds
    fleet: FleetReport | None = None
    """The state of the SFUs, present or last known; `None` when it is unknown."""
    signs: Signs | None = None
    """`None` while Redis is away."""
    findings: Sequence[Finding] = ()
    """What `doctor` finds of this Redis."""
    redis: RedisTrouble | None = None
    """Why Redis does not serve, where it does not."""
    redis_name: str = ""
    replica: ReplicaFacts | None = None
    """`None` when Redis itself is asked."""
