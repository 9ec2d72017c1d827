"""What the Lua scripts know of the settings: constants of their text, so no call carries or parses them."""

import math
import re
from dataclasses import dataclass
from typing import Final, Literal, Self

from app.settings.model import Settings

CONFIRMED_MS: Final = 1_000
"""For so long after an SFU confirmed a channel, requests of its issuer need not queue behind each other."""

LOCK_MARGIN_MS: Final = 1_000
"""No lock lasts longer than the deadline and this."""

EVENTS_KEPT: Final = 100_000
"""About how many transitions the outbox stream keeps for replay."""

ATTEMPT_TTL_MS: Final = 60_000
"""How long an attempt is remembered after its lock: a repeated or late call is known as one."""

LEARNED_FADE_MS: Final = 600_000
"""Time constant with which what was learned fades back to the setting when nothing teaches it."""

LEARNED_BOUND: Final = 4
"""The learned sessions per channel stay below this multiple of the setting."""

PROBE_AHEAD_MS: Final = 2_500
"""The sweeper probes an ejected SFU this long before its ejection ends: a silent one is not tried by a request."""

CALLS_KEPT: Final = 10_000
"""The most calls that are listed for one SFU."""

CONFIRMATIONS_KEPT: Final = 20_000
"""About how many confirmed channels a replica that starts can learn of; each takes some 400 bytes of Redis."""
LATE_AFTER: Final = 1.05
"""Heartbeat intervals after which the sweeper asks a silent SFU itself, where calls are rescued."""

_WORD: Final = re.compile(r"[a-z-]+")


@dataclass(frozen=True, slots=True)
class Policy:
    """Times in ms, shares from 0 to 1; names as `lua/` uses them."""

    strategy: Literal["load", "round-robin"]
    weight_sessions: float
    weight_cpu: float
    weight_memory: float
    choices: int
    sessions_per_channel: float
    min_sessions_per_channel: float
    max_sessions_per_channel: float
    learned_fade_ms: int
    join_ms: float
    max_load: float
    max_cpu: float
    max_memory: float
    threshold_ms: int
    lost_ttl_ms: int
    affinity_ttl_ms: int
    confirmed_ms: int
    max_lock_ms: int
    attempt_ttl_ms: int
    calls_kept: int
    failure_threshold: int
    open_ms: int
    max_open_ms: int
    probe_ahead_ms: int
    heartbeat_every_ms: float
    heartbeat_burst: int
    events_kept: int
    confirmations_kept: int
    late_ms: int
    ejected_after_ms: int

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the policy that `settings` ask for."""
        balancing, breaker, overload = settings.balancing, settings.breaker, settings.overload
        return cls(
            strategy=balancing.strategy,
            weight_sessions=balancing.weights.sessions,
            weight_cpu=balancing.weights.cpu,
            weight_memory=balancing.weights.memory,
            choices=balancing.choices,
            sessions_per_channel=balancing.sessions_per_channel,
            min_sessions_per_channel=balancing.min_sessions_per_channel,
            max_sessions_per_channel=max(
                balancing.sessions_per_channel * LEARNED_BOUND, balancing.min_sessions_per_channel
            ),
            learned_fade_ms=LEARNED_FADE_MS,
            join_ms=balancing.join_ms,
            max_load=overload.max_load,
            max_cpu=overload.max_cpu,
            max_memory=overload.max_memory,
            threshold_ms=max(1, round(settings.health.unhealthy_threshold * 1000)),
            lost_ttl_ms=settings.health.lost_ttl_s * 1000,
            affinity_ttl_ms=settings.affinity.ttl * 1000,
            confirmed_ms=CONFIRMED_MS,
            max_lock_ms=settings.failover.deadline_ms + LOCK_MARGIN_MS,
            attempt_ttl_ms=settings.failover.deadline_ms + ATTEMPT_TTL_MS,
            calls_kept=CALLS_KEPT,
            failure_threshold=breaker.failure_threshold,
            open_ms=breaker.open_ms,
            max_open_ms=breaker.max_open_ms,
            probe_ahead_ms=PROBE_AHEAD_MS,
            heartbeat_every_ms=1000 / settings.registration.max_per_second,
            heartbeat_burst=settings.registration.burst,
            events_kept=EVENTS_KEPT,
            confirmations_kept=CONFIRMATIONS_KEPT,
            late_ms=round(settings.next_ping_ms * LATE_AFTER),
            ejected_after_ms=settings.rescue.ejected_after_s * 1000,
        )

    def as_lua(self, field: str) -> str:
        """Return one field as a Lua constant.

        Raises:
            AttributeError: there is no such field.
            ValueError: a value that could be more, in a program, than a word or a number.
        """
        value: str | float = getattr(self, field)
        if isinstance(value, str):
            if not _WORD.fullmatch(value):
                raise ValueError(f"{field}: {value!r} is not a word of a-z and -")
            return f"'{value}'"
        if not math.isfinite(value):
            raise ValueError(f"{field}: {value} is not a finite number")
        return repr(value)
