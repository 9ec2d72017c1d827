"""R32: the resolver is away, slow or wrong, and the SFUs are where they were."""

import asyncio
import contextlib
from pathlib import Path

from tests.chaos.load import Load
from tests.chaos.rows import Row, Scale
from tests.journeys.deployment import Deployment, Replica, RunningFleet
from tests.support.name_server import Behaviour, asking, name_server
from tests.support.waiting import eventually

SFUS = 20
RATE = 3
"""Each SFU is asked every seven seconds: no connection is kept for so long, so each request asks for the name."""

PHASES: tuple[tuple[Behaviour, str], ...] = (
    ("silent", "127.0.0.1"),
    ("slow", "127.0.0.1"),
    ("no such name", "127.0.0.1"),
    ("answers", "127.0.0.98"),
)
"""How the resolver fails; at last it answers quickly, with an address where nobody listens."""


async def test_a_resolver_that_fails_fails_no_request(
    deployment: Deployment, scale: Scale, tmp_path: Path
) -> None:
    row = Row(
        "R32",
        "resolver away, slow for some names, answering wrong addresses",
        "0 failed requests to SFUs at known addresses; nobody ejected",
    )
    async with name_server() as names, contextlib.AsyncExitStack() as stack:
        replica = await asyncio.to_thread(deployment.replica_in, {}, before=asking(tmp_path))
        fleet = await asyncio.to_thread(deployment.fleet, SFUS, [])
        beating = asyncio.create_task(_beat_by_name(replica, fleet))
        stack.callback(beating.cancel)

        async def all_are_there() -> bool:
            return await asyncio.to_thread(replica.selectable) == SFUS

        await eventually(all_are_there, timeout_seconds=15)
        async with Load([replica.url], RATE).running() as load:
            await asyncio.sleep(scale.seconds(20, 12))
            known = names.asked
            for behaviour, leads_to in PHASES:
                names.behaviour, names.leads_to = behaviour, leads_to
                await asyncio.sleep(scale.seconds(60, 12))
        health = await asyncio.to_thread(replica.health)
    ejected = [
        sfu["address"] for sfu in health["sfus"] if sfu["breaker"] != "closed" or sfu["status"] != "up"
    ]
    figure = (
        f"{len(load.answers.failed)} of {len(load.answers.all)} failed ({load.answers.statuses()}); "
        f"{len(ejected)} of {SFUS} SFUs ejected; {names.asked - known} questions while the resolver failed"
    )
    row.record(figure, kept=not load.answers.failed and not ejected and names.asked > known)


async def _beat_by_name(replica: Replica, fleet: RunningFleet) -> None:
    """Send heartbeats for the SFUs under names instead of their addresses."""
    figures = {"channels": 0, "sessions": 0, "cpuUsage": 0, "memoryUsage": 0}
    while True:
        for number, address in enumerate(fleet.addresses):
            named = f"http://sfu{number}.chaos.test:{address.rpartition(':')[2]}"
            await asyncio.to_thread(replica.heartbeat, named, fleet.key_of(address), **figures)
        await asyncio.sleep(1)
