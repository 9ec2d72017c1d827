"""What Redis being away costs a replica: `python -m tests.bench.fallback_cost [--quick]`.

First a placement from the snapshot, by the size of the fleet. Fleets of all sizes take turns in one process, and the
best round counts: interruptions only ever add. Then what keeping the snapshot costs while Redis is there: the CPU of
the replica and of Redis per reading, of a fleet that reports all the time.
"""

import asyncio
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from redis.asyncio import Redis

from app.channels.fallback import SnapshotPlacer
from app.crypto.sealing import Sealer
from app.registry.fleet_reader import FleetReader
from app.registry.keys import Keys
from app.registry.placements import ForwardOutcome, PlacementRequest
from app.registry.registry import Registry
from app.registry.sfus import SfuStatus
from app.registry.snapshot import Snapshot
from tests.bench.options import is_quick
from tests.bench.script_calls import POLICY, Fleet
from tests.bench.servers import info, running_server
from tests.bench.wire import OK, send_all
from tests.bench.write_up import publish, say, table
from tests.support.calls import call_id
from tests.support.engines import RedisServer

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
SIZES: Final = (20, 100, 1_000, 10_000)
MOST_RATIO: Final = 2.0
MOST_CORE_PER_100: Final = 0.1
"""Of a core, for 100 placements a second."""
MOST_CORE_READING: Final = 0.01
_READING_S: Final = 1.0
_HEARTBEATS_PER_READING: Final = 10
"""Of ten SFUs one reports between two readings."""


@dataclass(frozen=True, slots=True)
class Placing:
    """What a placement took, with the report that a channel was created."""

    usec: float
    steps: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What keeping the snapshot of a fleet takes, of one core."""

    sfus: int
    replica: float
    redis: float


def snapshot_of(size: int) -> Snapshot:
    """Return a fleet whose SFUs are differently full, in four regions."""
    draw = random.Random(size)
    nodes = (
        SfuStatus(
            f"http://sfu{number}.example:8070",
            f"region-{number % 4}",
            state="selectable",
            breaker="closed",
            generation=1,
            heartbeat_age_ms=0,
            sealed_key="sealed",
            load=draw.random(),
            sessions=draw.randrange(500),
            max_sessions=1_000_000,
        )
        for number in range(size)
    )
    return Snapshot(tuple(nodes), sessions_per_channel=4)


def measure_placing(sizes: Iterable[int], rounds: int, calls: int) -> dict[int, Placing]:
    """Measure new placements of issuers that no round repeats."""
    placers = {size: _placer(size) for size in sizes}
    best = dict.fromkeys(placers, float("inf"))
    for number in range(rounds + 1):  # the first round warms up, and makes the tables
        for size, placer in placers.items():
            started = time.process_time()
            _place(placer, f"{number}", calls)
            usec = (time.process_time() - started) / calls * 1e6
            if number:
                best[size] = min(best[size], usec)
    return {
        size: Placing(best[size], placer.steps / (calls * (rounds + 1))) for size, placer in placers.items()
    }


def _placer(size: int) -> SnapshotPlacer:
    snapshot = snapshot_of(size)
    return SnapshotPlacer(lambda: snapshot, time.monotonic)


def _place(placer: SnapshotPlacer, name: str, calls: int) -> None:
    for number in range(calls):
        issuer = f"https://odoo.example:channel:{name}-{number}"
        placement = placer.select(PlacementRequest("request", call_id(issuer)))
        placer.record_outcome(ForwardOutcome("request", call_id(issuer), placement, "created", uuid="uuid"))


async def measure_reading(server: RedisServer, size: int, readings: int) -> Reading:
    """Measure incremental readings, a tenth of the fleet reporting before each."""
    fleet = Fleet(size)
    send_all(server.port, await asyncio.to_thread(fleet.registrations), OK)
    client = Redis.from_url(server.url, decode_responses=True)
    async with client:
        registry = Registry(client, Keys(f"fleet-{size}"), POLICY, Sealer([b"s" * 32]), timeout_s=10)
        reader = FleetReader(registry.fleet.page)
        snapshot = await reader.read()
        placer = SnapshotPlacer(lambda: snapshot, time.monotonic)
        await placer.prepare()
        replica_s = redis_s = 0.0
        for number in range(readings):
            issuers = [f"{number}-{each}" for each in range(size // _HEARTBEATS_PER_READING)]
            heartbeats = await asyncio.to_thread(fleet.calls, "heartbeat", issuers, "heartbeat")
            send_all(server.port, heartbeats, OK)
            redis_started, started = _cpu_s(server), time.process_time()
            snapshot = await reader.read()
            await placer.prepare()
            replica_s += time.process_time() - started
            redis_s += _cpu_s(server) - redis_started
    return Reading(size, replica_s / readings / _READING_S, redis_s / readings / _READING_S)


def _cpu_s(server: RedisServer) -> float:
    facts = info(server, "cpu")
    return float(facts["used_cpu_user"]) + float(facts["used_cpu_sys"])


def placing_table(costs: dict[int, Placing]) -> str:
    """Return the cost by fleet size, as ratio to the smallest."""
    smallest = costs[min(costs)]
    rows = [
        [f"{size:,}", f"{cost.usec / smallest.usec:.2f} x", f"{cost.usec:.0f} us", f"{cost.steps:.1f}"]
        for size, cost in sorted(costs.items())
    ]
    return table(["SFUs", "cost", "CPU", "points looked at"], rows)


def reading_table(readings: Iterable[Reading]) -> str:
    """Return what readings once a second take."""
    rows = [[f"{each.sfus:,}", f"{each.replica:.2%}", f"{each.redis:.2%}"] for each in readings]
    return table(["SFUs", "of the replica's core", "of Redis' core"], rows)


def main() -> None:
    """Measure, print, and unless asked to be quick, publish."""
    quick = is_quick()
    costs = measure_placing(SIZES, rounds=3 if quick else 10, calls=2_000)
    placing = placing_table(costs)
    say(placing)
    with running_server("redis") as server:
        readings = [
            asyncio.run(measure_reading(server, size, 10 if quick else 60)) for size in (1_000, 10_000)
        ]
    reading = reading_table(readings)
    say(reading)
    ratio, core = costs[max(SIZES)].usec / costs[min(SIZES)].usec, costs[max(SIZES)].usec * 100 / 1e6
    say(f"10,000 SFUs to 20: {ratio:.2f} x (at most {MOST_RATIO}); 100 placements/s: {core:.2%} of a core")
    if not quick:
        publish("fallback-placing", placing, PAGE)
        publish("fallback-reading", reading, PAGE)


if __name__ == "__main__":
    main()
