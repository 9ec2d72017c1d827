"""The tables of docs/performance.md from one run's figures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.cpu_profile import Profile
from tests.bench.footprint import Footprint
from tests.bench.latency import SHARES, Latencies, Way, latency_ms, percentile
from tests.bench.scale_out import ScaleOut
from tests.bench.throughput import Kind, Load, Rates
from tests.bench.write_up import table

KINDS: Final[dict[Kind, str]] = {
    "noop": "no-op route",
    "heartbeat": "heartbeat",
    "channel": "channel request",
    "httpx": "channel, stock httpx",
    "haproxy": "HAProxy",
}
LOST: Final = " \\*"
"""Marks a figure that is not what it seems: Redis did not serve the replica, which went on without it."""

WAYS: Final[dict[Way, str]] = {"sfu": "SFU, asked directly", "haproxy": "HAProxy", "gateway": "gateway"}


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that was measured in one run."""

    machine: str
    rates: dict[Load, Rates]
    latencies: Latencies
    profile: Profile
    footprint: Footprint
    scale_out: ScaleOut


def tables(figures: Figures) -> dict[str, str]:
    """Return each section's text by its name."""
    return {
        "perf-machine": figures.machine,
        "perf-ratios": _ratios(figures.rates),
        "perf-rates": _rates(figures.rates),
        "perf-clock": _clock(figures.rates),
        "perf-latency": _latency(figures.latencies),
        "perf-profile": _profile(figures.profile),
        "perf-phases": _phases(figures.profile),
        "perf-memory": _memory(figures.footprint),
        "perf-fleet": _fleet(figures.footprint),
        "perf-scale": _scale(figures.scale_out),
        "perf-store": _store(figures.scale_out),
    }


def ratio(rates: Rates, kind: Kind, to: Kind) -> float | None:
    """Return what `kind` does per second of CPU over what `to` does; `None` where one was not measured."""
    if kind not in rates or to not in rates:
        return None
    return rates[kind].per_cpu_s / rates[to].per_cpu_s if rates[to].per_cpu_s else math.inf


def _name(load: Load) -> str:
    return f"{load.in_flight} in flight, {load.sfus} SFUs"


def _ratios(by_load: dict[Load, Rates]) -> str:
    pairs: Sequence[tuple[Kind, Kind]] = (
        ("channel", "noop"),
        ("heartbeat", "noop"),
        ("channel", "httpx"),
        ("channel", "haproxy"),
    )
    header = ["by CPU", *(f"{KINDS[kind]} / {KINDS[to]}" for kind, to in pairs)]
    rows = [
        [_name(load), *(_shown(ratio(rates, kind, to)) for kind, to in pairs)]
        for load, rates in by_load.items()
    ]
    return table(header, rows)


def _shown(value: float | None) -> str:
    if value is None:
        return "not installed"
    if math.isinf(value):
        return "none at all"
    return f"{value:.1f} x" if value >= 10 else f"{value:.3f} x"


def _rates(by_load: dict[Load, Rates]) -> str:
    rows = [[_name(load), *(_by_cpu(rates, kind) for kind in KINDS)] for load, rates in by_load.items()]
    return table(["per second of its own CPU", *KINDS.values()], rows)


def _by_cpu(rates: Rates, kind: Kind) -> str:
    if kind not in rates:
        return ""
    return f"{rates[kind].per_cpu_s:,.0f}{LOST if rates[kind].store_failures else ''}"


def _clock(by_load: dict[Load, Rates]) -> str:
    rows = [[_name(load), *(_clocked(rates, kind) for kind in KINDS)] for load, rates in by_load.items()]
    return table(["per second by the clock (failed)", *KINDS.values()], rows)


def _clocked(rates: Rates, kind: Kind) -> str:
    if kind not in rates:
        return ""
    rate = rates[kind]
    failed = f" ({rate.failed:,})" if rate.failed else ""
    return f"{rate.per_s:,.0f}{failed}{LOST if rate.store_failures else ''}"


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
    added = ["gateway less the SFU", *(_ms(latencies.added_ms(share)) for share in SHARES), "", "", ""]
    text = (
        f"Peak of the replica by the clock: {latencies.peak_per_s:,.0f} channel requests per second. "
        f"All were asked for {latencies.per_s:,.0f} per second."
        f"{_lost_times(latencies.store_failures)}"
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
    rest = profile.whole_ms - sum(profile.phases_ms.values())
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
    return f"{table(header, rows)}\n\nReady {footprint.start_s:.2f} s after its start (median)."


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _fleet(footprint: Footprint) -> str:
    rows = [
        [
            fleet,
            f"{1e6 / rate.per_cpu_s:,.0f}",
            f"{footprint.cost_ratio(fleet):.2f} x",
            f"{rate.failed:,}{LOST if rate.store_failures else ''}",
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
            f"{1e6 / each.per_store_cpu_s:,.0f}",
            f"{each.store_busy:.0%}",
            f"{each.per_store_cpu_s:,.0f}",
            f"{each.failed:,}{LOST if each.store_failures else ''}",
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


def _store(scale_out: ScaleOut) -> str:
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
        f"One server by itself: {scale_out.store.placement:,.0f} placements or {scale_out.store.heartbeat:,.0f} "
        "heartbeats per second of its CPU."
    )
    return f"{table(header, rows)}\n\n{text}"
