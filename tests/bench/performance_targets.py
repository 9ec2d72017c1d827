"""What was promised, beside what was measured."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tests.bench.footprint import EVEN, FEW
from tests.bench.performance_tables import Figures
from tests.bench.revisions import ALONE, BEATS, BUSY, NOTHING, STEADY
from tests.bench.write_up import table

BUSY_RATIO: Final = 0.55
FEW_RATIO: Final = 0.45
CHANNEL_TO_NOOP: Final = 0.30
HEARTBEAT_TO_NOOP: Final = 0.40
ADDED_P50_MS: Final = 2.0
ADDED_P99_MS: Final = 5.0
TIMES_HAPROXY: Final = 3.0
MEMORY_MB: Final = 90.0
START_S: Final = 0.7
FLEET_RATIO: Final = 1.2
PLACEMENTS_PER_S: Final = 30_000.0


@dataclass(frozen=True, slots=True)
class Target:
    """One promise and the figure it is about."""

    name: str
    measured: float
    wanted: float
    unit: str
    is_least: bool = False
    """Whether more is better."""

    @property
    def is_met(self) -> bool:
        """Whether the promise is kept."""
        return self.measured >= self.wanted if self.is_least else self.measured <= self.wanted

    @property
    def missed_by(self) -> float:
        """How far it is from being kept, as a share of what was wanted; 0 when it is."""
        return 0.0 if self.is_met else abs(self.measured / self.wanted - 1)


def targets(figures: Figures) -> list[Target]:
    """Return all promises."""
    comparison, latencies, footprint = figures.comparison, figures.latencies, figures.footprint
    added_by_haproxy = latencies.added_ms(0.99, "haproxy") if "haproxy" in latencies.by_way else 0.0
    most_p99_ms = max(ADDED_P99_MS, TIMES_HAPROXY * added_by_haproxy)
    return [
        *(
            Target(
                f"CPU of a channel request to the former, {asked.name}", comparison.ratio(asked), wanted, "x"
            )
            for asked, wanted in ((BUSY, BUSY_RATIO), (ALONE, FEW_RATIO), (STEADY, FEW_RATIO))
        ),
        Target(
            "channel requests, to the no-op route",
            comparison.share(BUSY, NOTHING),
            CHANNEL_TO_NOOP,
            "x",
            True,
        ),
        Target(
            "heartbeats, to the no-op route", comparison.share(BEATS, NOTHING), HEARTBEAT_TO_NOOP, "x", True
        ),
        Target("p50 at half load, above the SFU's", latencies.added_ms(0.5), ADDED_P50_MS, "ms"),
        Target("p99 at half load, above the SFU's", latencies.added_ms(0.99), most_p99_ms, "ms"),
        Target(
            "memory to the former's",
            comparison.memory["new"].most / comparison.memory["former"].most,
            1.0,
            "x",
        ),
        Target("memory with 10,000 SFUs, at rest", footprint.held[-1].rest.most / 1e6, MEMORY_MB, "MB"),
        Target("memory with 10,000 SFUs, under load", footprint.held[-1].loaded.most / 1e6, MEMORY_MB, "MB"),
        Target("ready after start", comparison.start_s["new"], START_S, "s"),
        Target("cost with 10,000 SFUs to 10, calls go to ten", footprint.cost_ratio(FEW), FLEET_RATIO, "x"),
        Target("cost with 10,000 SFUs to 10, calls go to all", footprint.cost_ratio(EVEN), FLEET_RATIO, "x"),
        Target(
            "placements per second of Redis' CPU",
            figures.scale_out.selects_per_s,
            PLACEMENTS_PER_S,
            "/s",
            True,
        ),
    ]


def target_table(promises: Iterable[Target]) -> str:
    """Return the promises, whether they are kept, and by how much not."""
    rows = [
        [
            each.name,
            f"{each.measured:,.2f} {each.unit}",
            f"at {'least' if each.is_least else 'most'} {round(each.wanted, 2):,g} {each.unit}",
            "yes" if each.is_met else f"no, by {each.missed_by:.0%}",
        ]
        for each in promises
    ]
    return table(["target", "measured", "wanted", "met"], rows)
