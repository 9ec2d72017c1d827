"""SFUs as the registry takes and gives them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from app.crypto.tokens import Key


@dataclass(frozen=True, slots=True)
class SfuReport:
    """What one heartbeat says of an SFU (roadmap, phase 1)."""

    address: str
    region: str
    key: Key
    channels: int = 0
    sessions: int = 0
    max_sessions: int = 1000
    cpu: float = 0.0
    """CPU usage, 0 to 1."""
    memory: float = 0.0
    """Memory usage, 0 to 1."""
    public_url: str = ""
    is_draining: bool = False
    is_fresh: bool = True
    """Whether the figures were measured just now; if not, the last ones stay."""
    instance: str = ""
    """Random id of the process that reports; empty where it sends none."""


@dataclass(frozen=True, slots=True)
class HeartbeatResult:
    """The registry's answer to a heartbeat."""

    is_draining: bool
    generation: int
    is_new: bool


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one step of a sweep did."""

    count: int
    has_more: bool
    held_until: int | None = None
    """Set when a mass expiry is being held back: until when, in ms of Redis' clock."""


@dataclass(frozen=True, slots=True)
class SfuStatus:
    """One SFU, living or lost, as people see it. Times in ms, shares from 0 to 1, no key."""

    address: str
    region: str
    state: Literal["up", "draining", "failed", "misconfigured", "down"]
    standing: str
    """`selectable`, or why it takes no new channel."""
    breaker: Literal["closed", "open", "half-open"]
    generation: int
    heartbeat_age_ms: int
    channels: int = 0
    sessions: int = 0
    max_sessions: int = 0
    reserved: float = 0.0
    load: float = 0.0
    effective_load: float = 0.0
    """`load`, with the CPU and memory that promised sessions will take: what placements compare."""
    cpu: float = 0.0
    memory: float = 0.0
    sessions_term: float = 0.0
    cpu_term: float = 0.0
    memory_term: float = 0.0
    turn: int = 0
    public_url: str = ""
    registered_at: int = 0
    drain_until: int = 0
    drained: bool = False
    failures: int = 0
    opens: int = 0
    open_for_ms: int = 0
    down_at: int = 0
    down_reason: str = ""


def in_order(sfus: Iterable[SfuStatus]) -> list[SfuStatus]:
    """Return `sfus` as people list them: by region and address."""
    return sorted(sfus, key=lambda sfu: (sfu.region, sfu.address))
