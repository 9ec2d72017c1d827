"""Latency at half of what a replica can do, beside the SFU's own answers and HAProxy's at the same rate."""

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from tests.bench.http_load import Call, drive_hard
from tests.bench.open_loop import Outcome
from tests.bench.registry_watch import await_registry, store_failures
from tests.bench.requests_of import channel_requests
from tests.bench.rig import Rig, sfus
from tests.bench.throughput import channel_rate

SFU_ANSWER_MS: Final = 2.0
IN_FLIGHT: Final = 64
SFUS: Final = 200
SHARES: Final = (0.5, 0.99, 0.999)
"""p50, p99, p99.9."""

Way: TypeAlias = Literal["sfu", "haproxy", "gateway"]


@dataclass(frozen=True, slots=True)
class Latencies:
    """How long answers took that were asked for at a given rate."""

    peak_per_s: float
    """What the replica did at most, by the clock."""
    per_s: float
    by_way: dict[Way, Outcome]
    store_failures: int = 0
    """How often Redis did not serve the replica meanwhile."""

    def added_ms(self, share: float) -> float:
        """What the gateway adds to the SFU's own time, as the difference of two percentiles."""
        return latency_ms(self.by_way["gateway"], share) - latency_ms(self.by_way["sfu"], share)


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


def measure_latency(rig: Rig, seconds: int, rounds: int) -> Latencies:
    """Find the peak, then ask at half of it: the SFUs, HAProxy and the gateway in turn."""
    addresses = sfus(SFUS, rig.stand_in(SFU_ANSWER_MS))
    rig.register("latency", addresses)
    replica, proxy = rig.replica("latency"), rig.haproxy(addresses)
    channel_rate(replica, 1, IN_FLIGHT)
    peak = max(channel_rate(replica, 2, IN_FLIGHT).per_s for _ in range(rounds))
    rate = peak / 2
    urls: dict[Way, str] = {"sfu": addresses[0], "gateway": replica.url}
    if proxy is not None:
        urls["haproxy"] = proxy.url
        drive_hard(proxy.url, [Call("GET", "/v1/channel")], 1, IN_FLIGHT)
    await_registry(replica.url)
    lost_before = store_failures(replica.url)
    outcomes: dict[Way, Outcome] = {way: Outcome() for way in urls}
    for _ in range(rounds):
        for way, url in urls.items():
            calls = channel_requests(int(rate * seconds * 1.2)) if way == "gateway" else None
            outcome = ask(url, calls or [Call("GET", "/v1/channel")], rate, seconds)
            outcomes[way] = merged(outcomes[way], outcome)
    return Latencies(peak, rate, outcomes, store_failures(replica.url) - lost_before)


def merged(one: Outcome, other: Outcome) -> Outcome:
    """Return both rounds as one."""
    return Outcome(
        one.latencies_ms + other.latencies_ms, one.late_ms + other.late_ms, one.failed + other.failed
    )


def ask(url: str, calls: Sequence[Call], rate: float, seconds: int) -> Outcome:
    """Run the generator in a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "calls.tsv")
        file.write_text("\n".join(map(str, calls)) + "\n")
        argv = [sys.executable, "-m", "tests.bench.open_loop", url, str(file), str(rate), str(seconds)]
        said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return Outcome(**json.loads(said))
