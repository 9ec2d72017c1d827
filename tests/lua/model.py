"""What must be true of a fleet, told from the facts in Redis by a few lines of Python: no script has a part in it.

Learning is off: w = 1 session per channel. CPU and memory weigh nothing beyond their limits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

THRESHOLD_MS = 30_000
JOIN_MS = 15_000
LOCK_MS = 2_500
OPEN_MS = 2_000
MAX_OPEN_MS = 8_000
FAILURE_THRESHOLD = 2
MAX_SESSIONS = 6
MOVING_MS = 60_000

POLICY: Final[dict[str, Any]] = {
    "sessions_per_channel": 1,
    "min_sessions_per_channel": 1,
    "max_sessions_per_channel": 1,
    "open_ms": OPEN_MS,
    "max_open_ms": MAX_OPEN_MS,
    "failure_threshold": FAILURE_THRESHOLD,
    "heartbeat_burst": 10_000,
    "affinity_ttl_ms": 10**12,
}


@dataclass(frozen=True)
class Verdict:
    """The state of one SFU and the tier of indexes that must hold it."""

    state: str
    tier: str = ""


def verdict(facts: Mapping[str, str], now: int) -> Verdict:
    """Return the derived state of an SFU (design, section 3): the first that matches."""
    if facts.get("down_at"):
        return Verdict("signed-off" if facts["down_reason"] == "signed-off" else "lost")
    if int(facts["reported_at"]) + THRESHOLD_MS <= now:
        return Verdict("expired")
    drain = facts.get("operator_drain", "")
    if drain or facts.get("self_draining") == "1":
        is_over = bool(drain) and 0 < int(drain) <= now
        is_drained = is_over or int(facts.get("emptied_at", 0)) > 0
        return Verdict("drained" if is_drained else "draining")
    ejection = _ejection(facts, now)
    load = _load(facts)
    if ejection and not load:
        is_out = ejection == "ejected" or int(float(facts.get("permit_until") or 0)) > now
        return Verdict(ejection, "ejected" if is_out else "load")
    return Verdict(ejection or load or "selectable", "overloaded" if load else "load")


def _ejection(facts: Mapping[str, str], now: int) -> str:
    if not facts.get("ejected_reason"):
        return ""
    return "ejected" if int(facts.get("ejected_until", 0)) > now else "half-open"


def _load(facts: Mapping[str, str]) -> str:
    promised = float(facts.get("base", 0)) + float(facts.get("recent", 0))
    estimate = float(facts["sessions"]) + promised
    if round(estimate, 9) >= MAX_SESSIONS:
        return "full"
    cpu = float(facts["cpu"])
    is_over = cpu > 0.95 or 0.5 * estimate / MAX_SESSIONS + 0.3 * cpu > 0.9
    return "overloaded" if is_over else ""


def is_due(facts: Mapping[str, str], latest: int) -> bool:
    """Whether time alone has changed its state, so that a script has yet to notice.

    `latest` is the latest moment there ever was: a clock that steps back changes states, too.
    """
    if facts.get("down_at"):
        return False
    moments = [int(facts["reported_at"]) + THRESHOLD_MS, int(float(facts.get("operator_drain") or 0))]
    if facts.get("ejected_reason"):
        moments += [int(float(facts.get(name) or 0)) for name in ("ejected_until", "permit_until")]
    return any(0 < moment <= latest for moment in moments)
