"""R1 to R3: SFUs that die, vanish or talk nonsense."""

import asyncio
from collections.abc import Sequence

import aiohttp
import pytest

from tests.chaos.conftest import start
from tests.chaos.load import Load
from tests.chaos.rows import Row, Scale
from tests.journeys.deployment import Deployment, Replica, RunningFleet
from tests.support.proxy import FaultProxy, Faults

RATE = 100


def urls(replicas: Sequence[Replica]) -> list[str]:
    return [replica.url for replica in replicas]


async def channel_requests(fleet: RunningFleet, address: str) -> int:
    """How many channel requests one SFU has had."""
    state = await asyncio.to_thread(fleet.state, address)
    return int(state["requests"].get("/v1/channel", 0))


async def test_killing_an_sfu_fails_no_request(deployment: Deployment, scale: Scale) -> None:
    row = Row("R1", "one SFU refuses connections", "0 failed requests, at most 5 tries to the dead SFU")
    replicas, fleet = start(deployment, replicas=2, sfus=5)
    victim = fleet.addresses[0]
    async with Load(urls(replicas), RATE).running() as load:
        await asyncio.sleep(scale.seconds(30, 2))
        await asyncio.to_thread(fleet.control, victim, "heartbeats", {"silent": True})
        await asyncio.to_thread(fleet.control, victim, "fault", {"fault": "refuse"})
        moment = asyncio.get_running_loop().time()
        await asyncio.sleep(scale.seconds(60, 5))
    before, after = load.answers.until(moment), load.answers.since(moment)
    tries = sum(replica.process.output.count('"event": "sfu_failed"') for replica in replicas)
    added = after.latency_ms(0.99) - before.latency_ms(0.99)
    figure = f"{len(load.answers.failed)} of {len(load.answers.all)} failed; {tries} tries to it; p99 +{added:.0f} ms"
    row.record(figure, kept=not load.answers.failed and tries <= 5)


async def test_a_black_hole_costs_no_request_and_no_more_than_the_deadline(
    deployment: Deployment, scale: Scale
) -> None:
    row = Row("R2", "SFU black-holed (no RST)", "0 failures, no request over deadline_ms")
    replicas, fleet = start(deployment, replicas=2, sfus=4)
    target = int(fleet.addresses[0].rpartition(":")[2])
    async with FaultProxy(target) as proxy:
        holed = f"http://127.0.0.1:{proxy.port}"
        key = fleet.key_of(fleet.addresses[0])
        await asyncio.to_thread(fleet.control, fleet.addresses[0], "heartbeats", {"silent": True})
        await asyncio.to_thread(replicas[0].heartbeat, fleet.addresses[0], key, status="down")
        figures = {"channels": 0, "sessions": 0, "cpuUsage": 0, "memoryUsage": 0}
        beating = asyncio.create_task(_keep_beating(replicas[0], holed, key, figures))
        try:
            await asyncio.sleep(1)
            async with Load(urls(replicas), RATE).running() as load:
                await asyncio.sleep(1)
                proxy.faults = Faults(black_hole=True)
                await asyncio.sleep(scale.seconds(60, 6))
        finally:
            beating.cancel()
    slowest = load.answers.latency_ms(1)
    figure = f"{len(load.answers.failed)} of {len(load.answers.all)} failed; slowest {slowest:.0f} ms"
    row.record(figure, kept=not load.answers.failed and slowest <= 2_500)


async def _keep_beating(replica: Replica, address: str, key: str, figures: dict[str, int]) -> None:
    while True:
        await asyncio.to_thread(replica.heartbeat, address, key, **figures)
        await asyncio.sleep(1)


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "status", "status": 500},
        {"fault": "garbage"},
        {"fault": "no-uuid"},
        {"fault": "drip"},
        {"fault": "huge"},
        {"fault": "redirect"},
    ],
    ids=lambda fault: fault["fault"],
)
async def test_nonsense_from_an_sfu_fails_no_request(
    deployment: Deployment, scale: Scale, fault: dict[str, object]
) -> None:
    row = Row(
        f"R3 ({fault['fault']})",
        "SFU answers 500, garbage, 1 byte/s, 1 GiB, a redirect",
        "0 failures, no redirect followed, memory growth < 10 MiB",
    )
    replicas, fleet = start(deployment, replicas=1, sfus=4)
    async with Load(urls(replicas), 50).running() as load:
        await asyncio.sleep(1)
        before = _memory_mib(replicas[0])
        victim = fleet.addresses[0]
        await asyncio.to_thread(fleet.control, victim, "fault", fault | {"route": "/v1/channel"})
        await asyncio.sleep(scale.seconds(30, 4))
        growth = _memory_mib(replicas[0]) - before
    figure = f"{len(load.answers.failed)} of {len(load.answers.all)} failed; memory {growth:+.1f} MiB"
    row.record(figure, kept=not load.answers.failed and growth < 10)


def _memory_mib(replica: Replica) -> float:
    import psutil

    return float(psutil.Process(replica.process.pid).memory_info().rss) / 2**20


async def test_a_drained_sfu_gets_no_new_channel(deployment: Deployment, scale: Scale) -> None:
    row = Row("R21", "drain one SFU", "no new channel on it after 100 ms, 0 failures")
    replicas, fleet = start(deployment, replicas=2, sfus=4)
    drained = fleet.addresses[0]
    async with Load(urls(replicas), RATE).running() as load:
        await asyncio.sleep(scale.seconds(10, 1))
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{replicas[0].url}/v1/admin/sfus/drain",
                json={"address": drained},
                headers={"Authorization": "Bearer admin-token-of-the-tests"},
            ) as response,
        ):
            assert response.status == 200
        moment = asyncio.get_running_loop().time() + 0.1
        await asyncio.sleep(scale.seconds(30, 3))
    late = [answer for answer in load.answers.since(moment).all if answer.url == drained]
    figure = f"{len(late)} new channels on it, {len(load.answers.failed)} of {len(load.answers.all)} failed"
    row.record(figure, kept=not late and not load.answers.failed)
