"""The values of SFUs that go into the registry and come out of it."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

from app.crypto.tokens import Key
from app.states import GONE, State

Status = Literal["up", "draining", "failed", "misconfigured", "down"]
Eligibility = Literal["selectable", "sticky-only", "last-resort", ""]
"""What a replica does with an SFU while Redis is away. `sticky-only`: the SFU keeps its calls and takes no others
(draining, full, overloaded). `last-resort`: the SFU is ejected, and is asked when no other SFU is left. Empty: the
SFU keeps no calls (down, drained).
"""


_WORDS: Final = (1, 2, 3, 6, 7, 8)
"""The places of region, state, breaker, reason, tier and eligibility in a row: few words for many SFUs."""


@dataclass(frozen=True, slots=True)
class SfuReport:
    """One heartbeat (roadmap, phase 1)."""

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
    """Whether the figures are new. If not, the registry keeps the former ones."""
    instance: str = ""
    """Random id of the reporting process; another one under the same key is a restart in place."""


@dataclass(frozen=True, slots=True)
class HeartbeatResult:
    """The registry's answer to a heartbeat."""

    is_draining: bool
    generation: int
    is_new: bool
    """Whether the heartbeat began a registration."""
    setup: tuple[str, ...] = ()
    """What replicas have seen to be wrong with its set-up (`app.upstream.setup_problems`)."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """The result of one step of a sweep."""

    count: int
    has_more: bool
    expiry_suspended_until: int | None = None
    """Until when no registration expires, in ms of Redis' clock. Set while most of the fleet is silent."""
    addresses: tuple[str, ...] = field(default=(), compare=False)
    """The SFUs whose registrations it ended."""


@dataclass(frozen=True, slots=True)
class SfuStatus:
    """One SFU, living or lost, as of one reading. Times in ms, shares from 0 to 1.

    The fields have the order in which `lua/includes/node_describe.lua` lists them.
    """

    address: str
    region: str
    state: State
    breaker: Literal["closed", "open", "half-open"]
    generation: int
    """Its registration; 0 when it is unknown. A new generation means that the SFU lost its calls."""
    heartbeat_age_ms: int
    reason: str = ""
    """Why it is in its state: one of `app.states.REASONS`, or empty."""
    tier: Literal["load", "ejected", "overloaded", ""] = "load"
    """The indexes that contain it: `load` takes new channels, `ejected` is the last resort."""
    eligibility: Eligibility = "selectable"
    sealed_key: str = field(default="", repr=False)
    """In the readings of replicas alone: for placements without Redis. No document shows it."""
    public_url: str = ""
    last_error: str = ""
    setup: str = ""
    """What replicas have seen to be wrong with its set-up: codes, separated by spaces."""
    down_reason: str = ""
    channels: int = 0
    sessions: int = 0
    max_sessions: int = 0
    reserved: float = 0.0
    load: float = 0.0
    effective_load: float = 0.0
    """`load` by the learned sessions per channel, with the CPU and memory that promised sessions will take: what
    placements compare."""
    cpu: float = 0.0
    memory: float = 0.0
    sessions_term: float = 0.0
    cpu_term: float = 0.0
    memory_term: float = 0.0
    round_robin_seq: int = 0
    registered_at: int = 0
    drain_until: int = 0
    failures: int = 0
    """Failures in a row."""
    ejections: int = 0
    """How often it was ejected for a longer time, of late."""
    ejected_since: int = 0
    """When it was ejected, while it is ejected or half-open."""
    ejected_for_ms: int = 0
    errors: int = 0
    """Attempts without a channel since the last success, also those for which the SFU is not to blame."""
    last_error_at: int = 0
    is_shared: bool = False
    """Whether two processes report under its address and key in turn."""
    moves: int = -1
    """Calls that the drain had to move when it began; -1: the drain moves no calls."""
    moved: int = 0
    kept: int = 0
    """The part of them that Odoo left in place."""
    move_failed: int = 0
    down_at: int = 0
    at: int = 0
    """When this was read, by Redis' clock; 0 where it was not read from Redis."""

    @classmethod
    def of(cls, row: list[Any], at: int) -> Self:
        """Return the SFU that a row of read_fleet.lua describes, as it was `at` a time."""
        for number in _WORDS:
            row[number] = sys.intern(row[number])
        return cls(*[*row, at])

    @property
    def claimed(self) -> float:
        """Return its reported and its reserved sessions."""
        return self.sessions + self.reserved

    @property
    def moves_left(self) -> int:
        """Return how many calls are still to be moved."""
        return max(0, self.moves - self.moved - self.kept - self.move_failed)

    @property
    def is_living(self) -> bool:
        """Whether it is registered and not silent."""
        return self.state not in GONE

    @property
    def is_selectable(self) -> bool:
        """Whether it takes new channels."""
        return self.tier == "load"

    @property
    def status(self) -> Status:
        """The state in the four words that `status` of `/v1/health` had before `state`."""
        match self.state:
            case "draining" | "drained":
                return "draining"
            case "signed-off" | "lost" | "expired":
                return "down"
            case "ejected":
                return "misconfigured" if self.reason == "misconfigured" else "failed"
            case _:
                return "up"


def in_order(sfus: Iterable[SfuStatus]) -> list[SfuStatus]:
    """Return `sfus` by region and address."""
    return sorted(sfus, key=lambda sfu: (sfu.region, sfu.address))
