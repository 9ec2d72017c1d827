"""What a replica takes: memory, and CPU per request as its fleet grows."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.rig import Rig, Target, sfus
from tests.bench.throughput import IN_FLIGHT, Rate, channel_rate, mean_of
from tests.bench.watching import Memory, cpu_s, memory_of

SMALL: Final = 10
LARGE: Final = 10_000

EVEN: Final = "10,000 SFUs, calls go to all of them"
FEW: Final = "10,000 SFUs, calls go to ten of them"
TEN: Final = "10 SFUs"


@dataclass(frozen=True, slots=True)
class Held:
    """Memory of one replica."""

    sfus: int
    rest: Memory
    rest_busy: float
    """Of one core, while nobody asks: reading the fleet."""
    loaded: Memory


@dataclass(frozen=True, slots=True)
class Footprint:
    """All of it."""

    held: Sequence[Held]
    rates: dict[str, Rate]
    """Channel requests, by what the fleet is like."""

    def cost_ratio(self, fleet: str) -> float:
        """CPU of a channel request in that fleet, over that with ten SFUs."""
        return self.rates[TEN].per_cpu_s / self.rates[fleet].per_cpu_s


def measure_footprint(rig: Rig, seconds: int, rounds: int, rest_s: float) -> Footprint:
    """Measure memory at rest, then cost and memory under load."""
    replicas = _replicas(rig)
    before = {fleet: cpu_s(replica.pid) for fleet, replica in replicas.items()}
    time.sleep(rest_s)  # each replica reads its fleet several times
    busy = {fleet: (cpu_s(replica.pid) - before[fleet]) / rest_s for fleet, replica in replicas.items()}
    rest = {fleet: memory_of(replica.pid) for fleet, replica in replicas.items()}
    rates = _rates(replicas, seconds, rounds)
    loaded = {fleet: memory_of(replica.pid) for fleet, replica in replicas.items()}
    held = [
        Held(size, rest[fleet], busy[fleet], loaded[fleet]) for size, fleet in ((SMALL, TEN), (LARGE, EVEN))
    ]
    return Footprint(held, rates)


def _replicas(rig: Rig) -> dict[str, Target]:
    """Three replicas of one Redis, each with a namespace of its own."""
    port = rig.stand_in()
    rig.register("ten", sfus(SMALL, port))
    rig.register("even", sfus(LARGE, port))
    rig.register("few", sfus(LARGE, port), [0 if number < SMALL else 100 for number in range(LARGE)])
    return {fleet: rig.replica(name) for fleet, name in ((TEN, "ten"), (EVEN, "even"), (FEW, "few"))}


def _rates(replicas: dict[str, Target], seconds: int, rounds: int) -> dict[str, Rate]:
    taken: dict[str, list[Rate]] = {fleet: [] for fleet in replicas}
    for replica in replicas.values():
        channel_rate(replica, 1, IN_FLIGHT)
    for number in range(rounds):
        in_turn = list(replicas.items())
        for fleet, replica in in_turn if number % 2 == 0 else reversed(in_turn):
            taken[fleet].append(channel_rate(replica, seconds, IN_FLIGHT))
    return {fleet: mean_of(rates) for fleet, rates in taken.items()}
