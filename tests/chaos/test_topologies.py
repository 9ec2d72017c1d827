"""R11, R12: Redis fails over, by Sentinel and in a Cluster: its primary is killed, or hangs and comes back."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chaos.conftest import start
from tests.chaos.load import Load
from tests.chaos.rows import Row, Scale, engines
from tests.chaos.test_sfus import urls
from tests.journeys.deployment import Deployment, Replica
from tests.support.engines import ChaosEngine, RedisServer
from tests.support.redis_groups import server_name
from tests.support.topologies import cluster, sentinel_set

RATE = 60

NO_SENTINEL: dict[ChaosEngine, str] = {
    "redis": "one server has no other to fail over to; R9 is its end",
    "cluster": "a Cluster fails over without Sentinels; see R12",
}
NO_CLUSTER: dict[ChaosEngine, str] = {
    "redis": "one server has no other to fail over to; R9 is its end",
    "sentinel": "a Sentinel set is no Cluster; see R11",
}


@pytest.mark.parametrize("end", ["killed", "hung"])
@pytest.mark.parametrize("engine", engines("sentinel", "valkey"))
async def test_a_sentinel_failover_fails_no_request(
    engine: ChaosEngine, end: str, tmp_path: Path, scale: Scale
) -> None:
    row = Row(
        f"R11 ({end})",
        "Sentinel failover (down-after 1 s)",
        "0 failed requests, snapshot mode <= 3 s",
        engine,
    )
    if reason := NO_SENTINEL.get(engine):
        row.skip(reason)
    with ExitStack() as stack:
        redises = stack.enter_context(sentinel_set(server_name(engine), tmp_path, down_after_ms=1000))
        deployment = stack.enter_context(_deployment(redises.url, tmp_path))
        await _fail_over(row, deployment, redises.primary(), end, scale, limit_s=3)


@pytest.mark.parametrize("end", ["killed", "hung"])
@pytest.mark.parametrize("engine", engines("cluster", "valkey"))
async def test_a_cluster_failover_fails_no_request(
    engine: ChaosEngine, end: str, tmp_path: Path, scale: Scale
) -> None:
    row = Row(
        f"R12 ({end})",
        "Cluster failover (node-timeout 2 s)",
        "0 failed requests, snapshot mode <= 5 s",
        engine,
    )
    if reason := NO_CLUSTER.get(engine):
        row.skip(reason)
    with ExitStack() as stack:
        redises = stack.enter_context(cluster(server_name(engine), tmp_path, node_timeout_ms=2000))
        deployment = stack.enter_context(_deployment(redises.url, tmp_path))
        await _fail_over(row, deployment, redises.primary_of("{sfu}:load"), end, scale, limit_s=5)


def _deployment(url: str, directory: Path) -> Deployment:
    return Deployment(url, directory, health__unhealthy_threshold="6", health__ping_interval_ms="1000")


async def _fail_over(
    row: Row,
    deployment: Deployment,
    primary: RedisServer,
    end: str,
    scale: Scale,
    *,
    limit_s: float,
) -> None:
    replicas, fleet = await asyncio.to_thread(start, deployment, replicas=2, sfus=4)
    async with Load(urls(replicas), RATE).running() as load:
        await asyncio.sleep(scale.seconds(10, 2))
        await asyncio.to_thread(primary.kill if end == "killed" else primary.pause)
        snapshot_s = await asyncio.to_thread(_seconds_in_snapshot, replicas, 20)
        await asyncio.to_thread(primary.resume)  # what has hung still takes itself for the primary
        await asyncio.sleep(scale.seconds(30, 3))
    selectable = await asyncio.to_thread(replicas[0].selectable)
    figure = (
        f"{len(load.answers.failed)} of {len(load.answers.all)} failed ({load.answers.statuses()}), "
        f"snapshot mode for {snapshot_s:.1f} s, {selectable} of {len(fleet.addresses)} SFUs after it"
    )
    is_whole = not load.answers.failed and selectable == len(fleet.addresses)
    # How long an election takes is also a matter of how busy the machine is.
    row.record(
        figure, kept=is_whole and snapshot_s <= limit_s, required=is_whole and snapshot_s <= limit_s + 3
    )


def _seconds_in_snapshot(replicas: Sequence[Replica], patience_s: float) -> float:
    """How long, from now, any replica is in snapshot mode."""
    started = last = time.monotonic()
    seen = False
    while time.monotonic() - started < patience_s:
        if any(replica.client.get("/readyz").json().get("mode") == "snapshot" for replica in replicas):
            last, seen = time.monotonic(), True
        elif seen and time.monotonic() - last > 1:
            break
        time.sleep(0.05)
    return last - started
