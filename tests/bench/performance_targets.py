"""What was promised, beside what was measured."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tests.bench.footprint import EVEN, FEW
from tests.bench.performance_tables import Figures, ratio
from tests.bench.throughput import Kind
from tests.bench.write_up import table

CHANNEL_TO_NOOP: Final = 0.25
CHANNEL_TO_HTTPX: Final = 15.0
HEARTBEAT_TO_NOOP: Final = 0.35
ADDED_P99_MS: Final = 5.0
MEMORY_MB: Final = 90.0
START_S: Final = 1.5
FLEET_RATIO: Final = 1.2


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
    """Return all promises; where something was measured several times, the worst of them counts."""
    loaded_mb = figures.footprint.held[-1].loaded.most / 1e6
    rest_mb = figures.footprint.held[-1].rest.most / 1e6
    return [
        Target(
            "channel requests, to the no-op route",
            _worst(figures, "channel", "noop"),
            CHANNEL_TO_NOOP,
            "x",
            True,
        ),
        Target(
            "channel requests, to stock httpx",
            _worst(figures, "channel", "httpx"),
            CHANNEL_TO_HTTPX,
            "x",
            True,
        ),
        Target(
            "heartbeats, to the no-op route",
            _worst(figures, "heartbeat", "noop"),
            HEARTBEAT_TO_NOOP,
            "x",
            True,
        ),
        Target("p99 at half load, above the SFU's", figures.latencies.added_ms(0.99), ADDED_P99_MS, "ms"),
        Target("memory with 10,000 SFUs, at rest", rest_mb, MEMORY_MB, "MB"),
        Target("memory with 10,000 SFUs, under load", loaded_mb, MEMORY_MB, "MB"),
        Target("ready after start", figures.footprint.start_s, START_S, "s"),
        Target(
            "cost with 10,000 SFUs to 10, calls go to ten",
            figures.footprint.cost_ratio(FEW),
            FLEET_RATIO,
            "x",
        ),
        Target(
            "cost with 10,000 SFUs to 10, calls go to all",
            figures.footprint.cost_ratio(EVEN),
            FLEET_RATIO,
            "x",
        ),
    ]


def _worst(figures: Figures, kind: Kind, to: Kind) -> float:
    found = (ratio(rates, kind, to) for rates in figures.rates.values())
    return min(value for value in found if value is not None)


def target_table(promises: Iterable[Target]) -> str:
    """Return the promises, whether they are kept, and by how much not."""
    rows = [
        [
            each.name,
            f"{each.measured:.2f} {each.unit}",
            f"at {'least' if each.is_least else 'most'} {each.wanted:g} {each.unit}",
            "yes" if each.is_met else f"no, by {each.missed_by:.0%}",
        ]
        for each in promises
    ]
    return table(["target", "measured", "wanted", "met"], rows)
