"""The tables of docs/performance.md from one run's figures."""

import math
from dataclasses import dataclass
from typing import Final

from tests.bench.cpu_profile import Profile
from tests.bench.footprint import Footprint
from tests.bench.latency import SFU_ANSWER_MS, SHARES, Latencies, Way, latency_ms, percentile
from tests.bench.revisions import ALONE, BUSY, LOADS, NOTHING, STEADY, Comparison
from tests.bench.scale_out import ScaleOut
from tests.bench.write_up import table

LOST: Final = " \\*"
"""Marks a figure that is not what it seems: Redis did not serve the replica, which went on without it."""

WAYS: Final[dict[Way, str]] = {
    "sfu": "SFU, asked directly",
    "haproxy": "HAProxy alone before the SFUs",
    "former": "the former revision",
    "new": "this revision",
    "connections": "this revision, a new connection each",
    "proxied": "this revision, through the shipped HAProxy",
}


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that was measured in one run."""

    machine: str
    comparison: Comparison
    latencies: Latencies
    profile: Profile
    footprint: Footprint
    scale_out: ScaleOut


def tables(figures: Figures) -> dict[str, str]:
    """Return each section's text by its name."""
    return {
        "perf-machine": figures.machine,
        "perf-verdict": verdict(figures),
        "perf-costs": _costs(figures.comparison),
        "perf-latency": _latency(figures.latencies),
        "perf-profile": _profile(figures.profile),
        "perf-phases": _phases(figures.profile),
        "perf-memory": _memory(figures.footprint),
        "perf-fleet": _fleet(figures.footprint),
        "perf-scale": _scale(figures.scale_out),
        "perf-store": _redis(figures.scale_out),
    }


def verdict(figures: Figures) -> str:
    """Return what an operator wants to know, in five sentences."""
    comparison, latencies = figures.comparison, figures.latencies
    redis = max(each.per_redis_cpu_s for each in figures.scale_out.scaled)
    per_core = 1e6 / comparison.costs[BUSY.name, "new"].replica_us
    waits = [latency_ms(latencies.by_way["new"], share) for share in (0.5, 0.99)]
    way: Way = "proxied" if "proxied" in latencies.by_way else "new"
    proxied = [latency_ms(latencies.by_way[way], share) for share in (0.5, 0.99)]
    return (
        f"A replica with a core to itself creates {_round(per_core)} channels a second; half of that, "
        f"{_round(per_core / 2)}, is a good load for it. At half of its peak a call waits {_ms(waits[0])} ms for its "
        f"answer (p50) and {_ms(waits[1])} ms at p99, {SFU_ANSWER_MS:g} ms of them for the SFU; through the shipped "
        f"HAProxy {_ms(proxied[0])} and {_ms(proxied[1])} ms. Add a replica when one core is more than half busy "
        f"over a minute, and always run two. One Redis core carries {_round(redis)} channels a second, the work of "
        f"{redis / per_core:.0f} replicas; a second namespace on another Redis carries as many again. A channel "
        "request "
        f"takes {comparison.ratio(BUSY):.2f} times the CPU of the former revision with 32 in flight, "
        f"{comparison.ratio(ALONE):.2f} times with one and {comparison.ratio(STEADY):.2f} times at 200 a second."
    )


def _round(per_s: float) -> str:
    return f"{round(per_s, -2):,.0f}" if per_s >= 1_000 else f"{round(per_s, -1):,.0f}"


def _costs(comparison: Comparison) -> str:
    rows = []
    for asked in LOADS:
        former, new = (comparison.costs[asked.name, name] for name in ("former", "new"))
        lost = LOST if former.redis_failures or new.redis_failures else ""
        rows.append(
            [
                asked.name,
                f"{former.replica_us:,.0f}",
                f"{new.replica_us:,.0f}{lost}",
                f"{new.replica_us / former.replica_us:.2f} x",
                *(f"{cost.redis_us:,.0f}" if asked is not NOTHING else "" for cost in (former, new)),
                f"{former.failed + new.failed:,}",
            ]
        )
    header = [
        "us of CPU for one request",
        "replica, former",
        "replica, new",
        "new to former",
        "Redis, former",
        "Redis, new",
        "failed",
    ]
    memory = ", ".join(
        f"{name} {_mb(comparison.memory[name].most)} at most, ready {comparison.start_s[name]:.2f} s after its start"
        for name in ("former", "new")
    )
    return f"{table(header, rows)}\n\nFormer revision: `{comparison.revision}`. Under this load: {memory}."


def _latency(latencies: Latencies) -> str:
    names = [f"p{share * 100:g}" for share in SHARES]
    rows = [
        [
            WAYS[way],
            *(_ms(latency_ms(outcome, share)) for share in SHARES),
            f"{len(outcome.latencies_ms):,}",
            f"{outcome.failed:,}",
            _ms(percentile(outcome.late_ms, 0.99)),
        ]
        for way, outcome in latencies.by_way.items()
    ]
    added = ["this revision less the SFU", *(_ms(latencies.added_ms(share)) for share in SHARES), "", "", ""]
    text = (
        f"Peak of the replica by the clock: {latencies.peak_per_s:,.0f} channel requests per second. "
        f"All were asked for {latencies.per_s:,.0f} per second."
        f"{_lost_times(latencies.redis_failures)}"
    )
    header = ["ms from when it was due", *names, "requests", "failed", "sent late by, p99"]
    return f"{text}\n\n{table(header, [*rows, added])}"


def _lost_times(times: int) -> str:
    return (
        f" Redis did not serve the replica {times} times, and channels were placed without it."
        if times
        else ""
    )


def _ms(value: float) -> str:
    return f"{value:,.1f}" if math.isfinite(value) else "no answer"


def _profile(profile: Profile) -> str:
    if not profile.shares:
        return "Not measured: py-spy is not installed, or may not look at other processes."
    rows = [
        [group, f"{share:.0%}", f"{share * profile.cpu_us:,.0f}"] for group, share in profile.shares.items()
    ]
    rows.append(["all", "", f"{profile.cpu_us:,.0f}"])
    return table(["CPU of one channel request", "share", "us"], rows)


def _phases(profile: Profile) -> str:
    rows = [[phase, f"{took:.2f}"] for phase, took in profile.phases_ms.items()]
    before = sum(took for phase, took in profile.phases_ms.items() if phase != "report")
    rest = profile.whole_ms - before
    rows += [
        ["the rest: both ends' HTTP, middleware, log", f"{rest:.2f}"],
        ["all, as its caller sees it", f"{profile.whole_ms:.2f}"],
    ]
    return table(["one request alone", "ms by the clock"], rows)


def _memory(footprint: Footprint) -> str:
    rows = [
        [
            f"{held.sfus:,}",
            *(_mb(size) for size in (held.rest.now, held.rest.most, held.loaded.most)),
            f"{held.rest_busy:.1%}",
        ]
        for held in footprint.held
    ]
    header = ["SFUs", "at rest", "at rest, most so far", "under load, most so far", "at rest, of one core"]
    return table(header, rows)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _fleet(footprint: Footprint) -> str:
    rows = [
        [
            fleet,
            f"{1e6 / rate.per_cpu_s:,.0f}",
            f"{footprint.cost_ratio(fleet):.2f} x",
            f"{rate.failed:,}{LOST if rate.redis_failures else ''}",
        ]
        for fleet, rate in footprint.rates.items()
    ]
    return table(["channel request", "us of CPU", "to 10 SFUs", "failed"], rows)


def _scale(scale_out: ScaleOut) -> str:
    rows = [
        [
            f"{each.replicas}",
            f"{each.per_s:,.0f}",
            f"{each.per_replica_cpu_s:,.0f}",
            f"{each.replicas * each.per_replica_cpu_s:,.0f}",
            f"{1e6 / each.per_redis_cpu_s:,.0f}",
            f"{each.redis_busy:.0%}",
            f"{each.per_redis_cpu_s:,.0f}",
            f"{each.failed:,}{LOST if each.redis_failures else ''}",
        ]
        for each in scale_out.scaled
    ]
    header = [
        "replicas",
        "channels/s by the clock",
        "per s of a replica's CPU",
        "with a core each",
        "us of Redis CPU each",
        "Redis core busy",
        "one Redis core carries",
        "failed",
    ]
    return table(header, rows)


def _redis(scale_out: ScaleOut) -> str:
    rows = [
        [f"{each.servers}", f"{each.per_s:,.0f}", f"{each.busy:.0%}", f"{each.per_s / each.busy:,.0f}"]
        for each in scale_out.saturated
    ]
    header = [
        "Redis servers, a namespace each",
        "placements/s by the clock",
        "each core busy",
        "with all of their cores",
    ]
    text = (
        f"One server by itself: {scale_out.redis.placement:,.0f} placements or {scale_out.redis.heartbeat:,.0f} "
        "heartbeats per second of its CPU."
    )
    return f"{table(header, rows)}\n\n{text}"
