"""More replicas on one Redis, and what to do when that Redis is full."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.http_load import drive_hard
from tests.bench.registry_watch import await_registry, redis_failures
from tests.bench.requests_of import channel_requests
from tests.bench.revisions import SFUS
from tests.bench.rig import Rig, Target, rig_around_redis, sfus
from tests.bench.script_calls import Fleet
from tests.bench.servers import calls_per_cpu_s, running_server
from tests.bench.sizing import redis_rates
from tests.bench.sizing_tables import RedisRates
from tests.bench.throughput import IN_FLIGHT, MOST_CHANNELS_PER_S, channel_rate
from tests.bench.watching import cpu_s
from tests.bench.wire import NEW, OK, send_all
from tests.support.engines import RedisServer

REPLICAS: Final = (1, 2)
_CLIENTS: Final = 2
"""Connections to each server: while one is between batches, the other keeps the server busy."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """What some replicas on one Redis did together."""

    replicas: int
    per_s: float
    per_replica_cpu_s: float
    """Channels per second of a replica's CPU, on average."""
    per_redis_cpu_s: float
    """Channels per second of Redis' CPU."""
    redis_busy: float
    """Of one core."""
    failed: int
    redis_failures: int
    """How often Redis did not serve one of them."""


@dataclass(frozen=True, slots=True)
class Saturated:
    """What Redis servers did that were asked for placements without a pause."""

    servers: int
    per_s: float
    """Placements, a select and a report each, by the clock."""
    busy: float
    """Of as many cores."""


@dataclass(frozen=True, slots=True)
class ScaleOut:
    """All of it."""

    scaled: Sequence[Scaled]
    redis: RedisRates
    saturated: Sequence[Saturated]
    selects_per_s: float
    """New placements alone per second of Redis' CPU."""


def measure_scale_out(directory: Path, seconds: int, rounds: int, calls: int) -> ScaleOut:
    """Measure replicas on one Redis, then Redis alone, then two of them."""
    with rig_around_redis(directory) as rig:
        rig.register("sfu", sfus(SFUS, rig.stand_in()))
        replicas = [rig.replica() for _ in range(max(REPLICAS))]
        for replica in replicas:
            channel_rate(replica, 1, IN_FLIGHT)
        scaled = [_scaled(rig, replicas[:count], seconds) for count in REPLICAS]
    with running_server("redis") as server:
        redis = redis_rates(server, rounds, calls)
        selects = max(new_placements_per_s(server, number, calls) for number in range(rounds))
    return ScaleOut(scaled, redis, [saturated(count, calls) for count in (1, 2)], selects)


def new_placements_per_s(server: RedisServer, number: int, calls: int) -> float:
    """Return how many new placements `server` does per second of its CPU; `number` tells rounds apart."""
    fleet = Fleet(1_000, seed=number)
    send_all(server.port, fleet.registrations(), OK)
    shares = [[f"alone-{number}-{client}-{index}" for index in range(calls)] for client in range(_CLIENTS)]
    return calls_per_cpu_s(server, [fleet.calls("new", issuers, "first") for issuers in shares], NEW)


def _scaled(rig: Rig, replicas: Sequence[Target], seconds: int) -> Scaled:
    for replica in replicas:
        await_registry(replica.url)
    lost_before = sum(redis_failures(replica.url) for replica in replicas)
    loads = [channel_requests(MOST_CHANNELS_PER_S * seconds) for _ in replicas]
    pids = [rig.redis.pid, *(replica.pid for replica in replicas)]
    before = [cpu_s(pid) for pid in pids]
    with ThreadPoolExecutor(len(replicas)) as threads:
        work = [
            threads.submit(drive_hard, replica.url, calls, seconds, IN_FLIGHT)
            for replica, calls in zip(replicas, loads, strict=True)
        ]
        done = [each.result() for each in work]
    of_redis, *of_replicas = (cpu_s(pid) - start for pid, start in zip(pids, before, strict=True))
    good = sum(each.answered - each.failed for each in done)
    return Scaled(
        len(replicas),
        per_s=sum((each.answered - each.failed) / each.seconds for each in done),
        per_replica_cpu_s=good / sum(of_replicas),
        per_redis_cpu_s=good / of_redis,
        redis_busy=of_redis / seconds,
        failed=sum(each.failed for each in done),
        redis_failures=sum(redis_failures(replica.url) for replica in replicas) - lost_before,
    )


def saturated(servers: int, calls: int) -> Saturated:
    """Ask some servers at once for placements, each with a namespace of its own, by pipelines that never run dry."""
    fleets = [Fleet(1_000, seed=number) for number in range(servers * _CLIENTS)]
    issuers = [
        [f"https://odoo.example.com:channel:client{client}-{number}" for number in range(calls)]
        for client in range(len(fleets))
    ]
    with ExitStack() as stack:
        running = [stack.enter_context(running_server("redis")) for _ in range(servers)]
        for server in running:
            send_all(server.port, Fleet(1_000).registrations(), OK)
        asked = [running[number % servers] for number in range(len(fleets))]
        selects = [fleet.calls("new", each, "first") for fleet, each in zip(fleets, issuers, strict=True)]
        placed = _all_at_once(asked, selects, NEW)
        reports = [
            fleet.reports(server, each, "first")
            for fleet, server, each in zip(fleets, asked, issuers, strict=True)
        ]
        reported = _all_at_once(asked, reports, OK)
    took_s = placed.took_s + reported.took_s
    used_s = placed.used_s + reported.used_s
    return Saturated(servers, len(fleets) * calls / took_s, used_s / took_s / servers)


@dataclass(frozen=True, slots=True)
class _Took:
    """Seconds by the clock, and of the servers' CPU."""

    took_s: float
    used_s: float


def _all_at_once(servers: Sequence[RedisServer], batches: Sequence[Sequence[bytes]], marker: bytes) -> _Took:
    """Send each batch to its server by a connection of its own, and wait for all replies."""
    pids = {server.pid for server in servers}
    before, began = sum(map(cpu_s, pids)), time.monotonic()
    with ThreadPoolExecutor(len(batches)) as threads:
        list(threads.map(lambda server, batch: send_all(server.port, batch, marker), servers, batches))
    return _Took(time.monotonic() - began, sum(map(cpu_s, pids)) - before)
