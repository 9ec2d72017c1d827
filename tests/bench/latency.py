"""How long answers take at half of what a replica can do: this revision and a former one, direct and through HAProxy.

Beside them the SFU's own answers, and what HAProxy alone adds to them, at the same rate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from tests.bench.http_load import Call, drive_hard
from tests.bench.open_loop import Outcome, ask
from tests.bench.registry_watch import await_registry, redis_failures
from tests.bench.requests_of import channel_requests
from tests.bench.revisions import running_arms
from tests.bench.rig import rig_around_redis
from tests.bench.throughput import IN_FLIGHT, channel_rate
from tests.support.haproxy import shipped_haproxy

SFU_ANSWER_MS: Final = 2.0
SHARES: Final = (0.5, 0.99, 0.999)
"""p50, p99, p99.9."""

Way: TypeAlias = Literal["sfu", "haproxy", "former", "new", "connections", "proxied"]


@dataclass(frozen=True, slots=True)
class Latencies:
    """How long answers took that were asked for at a given rate."""

    peak_per_s: float
    """What the replica did at most, by the clock."""
    per_s: float
    by_way: dict[Way, Outcome]
    redis_failures: int = 0
    """How often Redis did not serve the new replica meanwhile."""

    def added_ms(self, share: float, way: Way = "new") -> float:
        """What a way adds to the SFU's own time, as the difference of two percentiles."""
        return latency_ms(self.by_way[way], share) - latency_ms(self.by_way["sfu"], share)


def latency_ms(outcome: Outcome, share: float) -> float:
    """Return a percentile of all requests; one that failed took for ever."""
    return percentile(outcome.latencies_ms + [math.inf] * outcome.failed, share)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of `values` that at least `share` (0 to 1) of them do not exceed (nearest rank).

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError("no values")
    rank = math.ceil(round(share * len(values), 9))
    return sorted(values)[max(1, rank) - 1]


def measure_latency(directory: Path, former: Path, seconds: int, rounds: int) -> Latencies:
    """Find the peak of this revision, then ask at half of it, in turns."""
    with (
        running_arms(directory, former, SFU_ANSWER_MS) as (arms, addresses),
        rig_around_redis(directory) as rig,
    ):
        urls: dict[Way, str] = {"sfu": addresses[0]}
        urls |= {arm.name: arm.replica.url for arm in arms}
        replica = arms[-1].replica
        urls["connections"] = replica.url
        if (alone := rig.haproxy(addresses)) is not None:
            urls["haproxy"] = alone.url
            drive_hard(alone.url, [Call("GET", "/v1/channel")], 1, IN_FLIGHT)
            proxy, urls["proxied"] = shipped_haproxy(directory, [replica.url.removeprefix("http://")])
            rig.run(proxy)
        peak = max(channel_rate(replica, 2, IN_FLIGHT).per_s for _ in range(2))
        await_registry(replica.url)
        lost_before = redis_failures(replica.url)
        outcomes: dict[Way, Outcome] = {way: Outcome() for way in urls}
        for _ in range(rounds):
            for way, url in urls.items():
                outcomes[way] = merged(outcomes[way], _asked(way, url, peak / 2, seconds))
        return Latencies(peak, peak / 2, outcomes, redis_failures(replica.url) - lost_before)


def _asked(way: Way, url: str, rate: float, seconds: int) -> Outcome:
    if way in ("sfu", "haproxy"):
        return ask(url, [Call("GET", "/v1/channel")], rate, seconds)
    calls = channel_requests(int(rate * seconds * 1.2))
    return ask(url, calls, rate, seconds, is_new_each=way == "connections")


def merged(one: Outcome, other: Outcome) -> Outcome:
    """Return both rounds as one."""
    return Outcome(
        one.latencies_ms + other.latencies_ms, one.late_ms + other.late_ms, one.failed + other.failed
    )
