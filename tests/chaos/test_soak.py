"""R27: what replicas and Redis hold does not grow with time, whatever comes and goes."""

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.sfu_stand_in import address_of
from tests.chaos.load import Load
from tests.chaos.rows import Row, Scale
from tests.chaos.samples import Samples
from tests.chaos.test_sfus import urls
from tests.journeys.deployment import Deployment, Replica, RunningFleet
from tests.support.ports import free_port
from tests.support.processes import Process, prints
from tests.support.redis_groups import RedisGroup
from tests.support.waiting import eventually, eventually_sync

KEY = "a2V5IG9mIG9uZSBTRlUsIG5vdCBvZiBhbnkgb3RoZXI="
POLLED = ("/v1/health", "/metrics", "/readyz", "/v1/dashboard/data", "/v1/dashboard/history")

SHORT_LIVED = {
    "health__unhealthy_threshold": "3",
    "health__ping_interval_ms": "1000",
    "health__lost_ttl_s": "5",
    "affinity__ttl": "5",
    "breaker__failure_threshold": "2",
    "breaker__open_ms": "500",
    "breaker__max_open_ms": "1000",
}
"""What is remembered for minutes or hours by default, for seconds: a level is reached soon, and left again."""


async def test_nothing_grows_with_time(redis_group: RedisGroup, tmp_path: Path, scale: Scale) -> None:
    row = Row(
        "R27",
        "steady mixed load, SFUs and viewers that come and go",
        "no growth of memory (3 MiB or 3 %), keys, files or connections; keys return",
    )
    port = free_port()
    argv = [sys.executable, "-m", "tests.bench.sfu_stand_in", str(port)]
    with (
        Deployment(redis_group.url, tmp_path, **SHORT_LIVED) as deployment,
        Process(argv, log=tmp_path / "visitors.log", ready=prints("answering")),
    ):
        watched, replicas, _ = await asyncio.to_thread(_started, deployment)
        base = int(await asyncio.to_thread(redis_group.call, "DBSIZE"))
        samples = Samples(watched, redis_group)
        async with _traffic(replicas, port) as load:
            ends = time.monotonic() + scale.seconds(900, 40)
            while time.monotonic() < ends:
                await asyncio.sleep(1)
                await asyncio.to_thread(samples.take)
        left = await _keys_left(redis_group, base)
    _judge(row, scale, samples, load, base, left)


def _judge(row: Row, scale: Scale, samples: Samples, load: Load, base: int, left: int) -> None:
    memory = [samples.growth(f"{name} memory") for name in samples.processes]
    keys, redis = samples.growth("keys"), samples.growth("redis memory")
    figure = (
        f"{len(load.answers.all)} channels asked for, {load.answers.success:.2%} placed; memory "
        + ", ".join(f"{each.first:.1f} -> {each.second:.1f}" for each in memory)
        + f" MiB (2 replicas, sweeper), Redis {redis.first:.1f} -> {redis.second:.1f} MiB, "
        f"keys {keys.first:.0f} -> {keys.second:.0f}, {left - base:+d} of {base} when all was over"
    )
    # What grows within half a minute may still be a process that warms up; keys and files have no such excuse.
    grown = samples.grown("files", 0.1, 10) + samples.grown("connections", 0.1, 10)
    grown += samples.grown("keys", 0.1, 20) + samples.grown("threads", 0, 0)
    too_big = samples.grown("memory", 0.03, 3)
    if grown or too_big:
        figure += f"; grown: {', '.join(grown + too_big)}"
    required = not grown and left <= base + 2 and load.answers.success >= 0.999
    kept = required and not too_big
    row.record(figure, kept=kept, required=kept if scale.is_full else required)


def _started(deployment: Deployment) -> tuple[dict[str, Process], list[Replica], RunningFleet]:
    """Start two replicas, a sweeper, and SFUs of which one creates no channels; return the processes by name."""
    replicas, sweeper = [deployment.replica(), deployment.replica()], deployment.sweeper()
    fleet = deployment.fleet(5, replicas, "--ping-interval-ms", "1000", "--max-sessions", "100000")
    eventually_sync(lambda: all(replica.selectable() == 5 for replica in replicas), timeout_seconds=15)
    fault = {"fault": "status", "status": 500, "route": "/v1/channel"}
    fleet.control(fleet.addresses[0], "fault", fault)
    watched = {"replica 1": replicas[0].process, "replica 2": replicas[1].process, "sweeper": sweeper}
    return watched, replicas, fleet


@asynccontextmanager
async def _traffic(replicas: Sequence[Replica], port: int) -> AsyncIterator[Load]:
    """Make all kinds of work until the block ends."""
    async with aiohttp.ClientSession(trust_env=False) as session, asyncio.TaskGroup() as group:
        restless: list[Coroutine[Any, Any, None]] = [
            _visit(replicas[0], port),
            *(_watch(session, replica.url) for replica in replicas),
            *(_poll(session, replica.url) for replica in replicas),
        ]
        tasks = [group.create_task(each) for each in restless]
        async with Load(urls(replicas), 60, "soak:{}".format).running() as load:
            yield load
        for task in tasks:
            task.cancel()


async def _visit(replica: Replica, port: int) -> None:
    """SFUs that nobody has seen before: one signs off after a while, the next just falls silent."""
    for number in itertools.count():
        address = address_of(number, port)
        await asyncio.to_thread(replica.heartbeat, address, KEY, channels=0, sessions=0)
        await asyncio.sleep(1)
        if number % 2:
            await asyncio.to_thread(replica.heartbeat, address, KEY, status="down")


async def _watch(session: aiohttp.ClientSession, url: str) -> None:
    """Viewers of the event stream who leave without a word."""
    while True:
        async with session.get(f"{url}/v1/events", timeout=aiohttp.ClientTimeout(total=None)) as answer:
            await answer.content.readany()
            await asyncio.sleep(0.3)
            answer.close()


async def _poll(session: aiohttp.ClientSession, url: str) -> None:
    """Monitoring."""
    for path in itertools.cycle(POLLED):
        async with session.get(f"{url}{path}") as answer:
            await answer.read()
        await asyncio.sleep(0.2)


async def _keys_left(redis_group: RedisGroup, base: int) -> int:
    """Return how many keys there are when all that had an end has ended: outcomes of attempts live for a minute."""
    try:
        return int(
            await eventually(lambda: asyncio.to_thread(_few_keys, redis_group, base), timeout_seconds=90)
        )
    except AssertionError:
        return int(await asyncio.to_thread(redis_group.call, "DBSIZE"))


def _few_keys(redis_group: RedisGroup, base: int) -> int:
    """Return how many keys there are if there are hardly more than `base`, else 0."""
    count = int(redis_group.call("DBSIZE"))
    return count if count <= base else 0
