"""Channel requests as fast as a replica answers them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.http_load import Call, drive_hard
from tests.bench.registry_watch import await_registry, redis_failures
from tests.bench.requests_of import channel_requests
from tests.bench.rig import Target
from tests.bench.watching import cpu_s

MOST_CHANNELS_PER_S: Final = 7_000
"""More than a replica creates. Tokens are made for so many, so that no issuer comes twice."""
IN_FLIGHT: Final = 32


@dataclass(frozen=True, slots=True)
class Rate:
    """What one process did."""

    per_cpu_s: float
    """Successes per second of its own CPU: what it does in a second with a core to itself."""
    per_s: float
    """Successes per second of real time, with whatever else ran on the machine."""
    failed: int = 0
    """Answers without success, and broken connections."""
    redis_failures: int = 0
    """How often Redis did not serve the replica; from then on it placed channels without it."""


def mean_of(rates: Sequence[Rate]) -> Rate:
    """Return the average of some rounds of equal length: what a replica does beside, it does in some of them."""
    return Rate(
        sum(rate.per_cpu_s for rate in rates) / len(rates),
        sum(rate.per_s for rate in rates) / len(rates),
        sum(rate.failed for rate in rates),
        sum(rate.redis_failures for rate in rates),
    )


def rate_of(target: Target, calls: Sequence[Call], seconds: int, in_flight: int) -> Rate:
    """Measure one kind of request on one process; a replica that has lost Redis gets time to find it again."""
    if target.is_gateway:
        await_registry(target.url)
    lost_before = _redis_failures(target)
    before = cpu_s(target.pid)
    done = drive_hard(target.url, calls, seconds, in_flight)
    took = cpu_s(target.pid) - before
    good = max(0, done.answered - done.failed)
    return Rate(good / took, good / done.seconds, done.failed, _redis_failures(target) - lost_before)


def _redis_failures(target: Target) -> int:
    return redis_failures(target.url) if target.is_gateway else 0


def channel_rate(target: Target, seconds: int, in_flight: int) -> Rate:
    """Measure new placements on one replica.

    Raises:
        AssertionError: it was so fast that issuers came twice, and were no new placements any more.
    """
    calls = channel_requests(MOST_CHANNELS_PER_S * seconds)
    rate = rate_of(target, calls, seconds, in_flight)
    assert rate.per_s < MOST_CHANNELS_PER_S, rate
    return rate
