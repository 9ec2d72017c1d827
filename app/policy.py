"""What the Lua scripts need to know of the settings: one JSON text, made once, sent with each call."""

import json
from typing import Final

from app.settings import Settings

CONFIRMED_MS: Final = 1_000
"""For so long after an SFU confirmed a channel, requests of its issuer need not queue behind each other."""

EVENTS_KEPT: Final = 100_000
"""About how many transitions the outbox stream keeps for replay."""


def policy_of(settings: Settings) -> str:
    """Return the policy as JSON. Times in ms, shares from 0 to 1; names as `lua/` uses them."""
    balancing, breaker, overload = settings.balancing, settings.breaker, settings.overload
    return json.dumps(
        {
            "strategy": balancing.strategy,
            "weight_sessions": balancing.weights.sessions,
            "weight_cpu": balancing.weights.cpu,
            "weight_memory": balancing.weights.memory,
            "choices": balancing.choices,
            "sessions_per_channel": balancing.sessions_per_channel,
            "min_sessions_per_channel": balancing.min_sessions_per_channel,
            "join_ms": balancing.join_ms,
            "max_load": overload.max_load,
            "max_cpu": overload.max_cpu,
            "max_memory": overload.max_memory,
            "threshold_ms": max(1, round(settings.health.unhealthy_threshold * 1000)),
            "lost_ttl_ms": settings.health.lost_ttl_s * 1000,
            "affinity_ttl_ms": settings.affinity.ttl * 1000,
            "confirmed_ms": CONFIRMED_MS,
            "failure_threshold": breaker.failure_threshold,
            "open_ms": breaker.open_ms,
            "max_open_ms": max(breaker.open_ms, breaker.max_open_ms),
            "max_ejected_percent": breaker.max_ejected_percent,
            "heartbeat_every_ms": 1000 / settings.registration.max_per_second,
            "heartbeat_burst": settings.registration.burst,
            "events_kept": EVENTS_KEPT,
        },
        separators=(",", ":"),
    )
