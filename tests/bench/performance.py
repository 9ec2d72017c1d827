"""This revision against a former one: `python -m tests.bench.performance [--quick] [--former REVISION]`.

Everything in one run on one machine, so that its ratios mean something where the figures do not. Brings
docs/performance.md up to date, in about ten minutes.
"""

import argparse
import platform
import re
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil

from tests.bench.cpu_profile import measure_profile
from tests.bench.footprint import measure_footprint
from tests.bench.http_load import has_wrk
from tests.bench.latency import Latencies, latency_ms, measure_latency
from tests.bench.performance_tables import WAYS, Figures, tables
from tests.bench.performance_targets import target_table, targets
from tests.bench.plots import Labels, draw_groups, draw_lines
from tests.bench.revisions import FORMER, LOADS, Comparison, Name, compare, worktree
from tests.bench.rig import haproxy_version, rig_around_redis
from tests.bench.scale_out import ScaleOut, measure_scale_out
from tests.bench.servers import installed_servers
from tests.bench.sfu_stand_in import allow_many_sockets
from tests.bench.write_up import publish, say

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "performance.md"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured, and for how long."""

    cost_s: int
    """Seconds of each load, revision and round."""
    cost_rounds: int
    starts: int
    latency_s: int
    latency_rounds: int
    profile_s: int
    fleet_s: int
    fleet_rounds: int
    rest_s: float
    """For so long a replica is left alone before its memory at rest is read."""
    scale_s: int
    redis_rounds: int
    redis_calls: int


FULL: Final = Plan(
    cost_s=3,
    cost_rounds=4,
    starts=3,
    latency_s=10,
    latency_rounds=2,
    profile_s=10,
    fleet_s=3,
    fleet_rounds=2,
    rest_s=10,
    scale_s=5,
    redis_rounds=5,
    redis_calls=3_000,
)
QUICK: Final = Plan(
    cost_s=1,
    cost_rounds=1,
    starts=1,
    latency_s=2,
    latency_rounds=1,
    profile_s=2,
    fleet_s=1,
    fleet_rounds=1,
    rest_s=2,
    scale_s=1,
    redis_rounds=1,
    redis_calls=1_000,
)


def measure(plan: Plan, directory: Path, revision: str) -> Figures:
    """Measure everything, each part around a Redis of its own."""
    with worktree(revision, directory) as former:
        say(f"Measuring CPU per request beside {revision}")
        comparison = compare(revision, directory, former, plan.cost_s, plan.cost_rounds, plan.starts)
        say("Measuring latency")
        latencies = measure_latency(directory, former, plan.latency_s, plan.latency_rounds)
    say("Measuring where the time goes")
    with rig_around_redis(directory) as rig:
        profile = measure_profile(rig, plan.profile_s)
    say("Measuring memory and fleets")
    with rig_around_redis(directory) as rig:
        footprint = measure_footprint(rig, plan.fleet_s, plan.fleet_rounds, plan.rest_s)
    say("Measuring replicas on one Redis")
    scale_out = measure_scale_out(directory, plan.scale_s, plan.redis_rounds, plan.redis_calls)
    return Figures(machine(), comparison, latencies, profile, footprint, scale_out)


def machine() -> str:
    """Name the machine by what matters: cores, architecture, versions."""
    parts = [
        f"{psutil.cpu_count()} cores ({_processor()}, {platform.machine()})",
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        f"{platform.system()} {platform.release().partition('-')[0]}",
        f"Python {platform.python_version()}",
        *(f"{name} {version(name)}" for name in ("uvicorn", "uvloop", "httptools", "httpx")),
        installed_servers()["redis"],
        f"HAProxy {haproxy_version() or 'not installed'}",
        "load by wrk" if has_wrk() else "load by Python: slower than a replica may be",
    ]
    return ", ".join(parts) + ". Read ratios: other work on the machine changes the rest."


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return found[1] if found else "unknown"


def draw(figures: Figures) -> None:
    """Write the plots."""
    _draw_costs(figures.comparison)
    _draw_latency(figures.latencies)
    _draw_scale(figures.scale_out)


def _draw_costs(comparison: Comparison) -> None:
    groups = [asked.name.replace(", ", ",\n") for asked in LOADS]
    names: tuple[Name, ...] = ("former", "new")
    bars: dict[str, list[float]] = {
        name: [comparison.costs[asked.name, name].replica_us for asked in LOADS] for name in names
    }
    draw_groups(
        "performance-rates", Labels("What one request takes", "us of the replica's CPU"), groups, bars
    )


def _draw_latency(latencies: Latencies) -> None:
    fewest = min(len(outcome.latencies_ms) for outcome in latencies.by_way.values())
    one_in = [1.3**power for power in range(1, 30) if 1.3**power < min(fewest, 2_000)]
    curves = {
        WAYS[way]: (one_in, [latency_ms(outcome, 1 - 1 / each) for each in one_in])
        for way, outcome in latencies.by_way.items()
    }
    labels = Labels(
        f"Channel requests at half of the peak ({latencies.per_s:,.0f}/s)",
        "ms from when a request was due",
        "one request in so many takes longer (100: p99, 1000: p99.9)",
    )
    draw_lines("performance-latency", labels, curves, is_log_x=True)


def _draw_scale(scale_out: ScaleOut) -> None:
    replicas = [float(each.replicas) for each in scale_out.scaled]
    curves = {
        "by the clock, all on this machine": (replicas, [each.per_s for each in scale_out.scaled]),
        "with a core for each replica": (
            replicas,
            [each.replicas * each.per_replica_cpu_s for each in scale_out.scaled],
        ),
    }
    labels = Labels("Replicas on one Redis", "channel requests per second", "replicas")
    draw_lines("performance-scale", labels, curves, marker="o")


def parsed() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--quick", action="store_true", help="two minutes instead of ten; docs stay as they are"
    )
    parser.add_argument("--former", default=FORMER, help="the revision to compare with")
    return parser.parse_args()


def main() -> None:
    """Measure, print, and bring docs/performance.md up to date."""
    options = parsed()
    quick = options.quick
    allow_many_sockets()
    with tempfile.TemporaryDirectory() as directory:
        figures = measure(QUICK if quick else FULL, Path(directory), options.former)
    for name, text in {**tables(figures), "perf-target": target_table(targets(figures))}.items():
        say(f"{name}\n{text}")
        if not quick:
            publish(name, text, PAGE)
    if not quick:
        draw(figures)


if __name__ == "__main__":
    main()
