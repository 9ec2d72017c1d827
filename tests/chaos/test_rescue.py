"""R37: calls outlive their SFU, whatever the Odoos behind it do."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from app.crypto.tokens import Key
from tests.chaos.conftest import start
from tests.chaos.rows import Row
from tests.journeys.deployment import GATEWAY_KEY, Deployment, Replica, RunningFleet
from tests.support.ports import free_port
from tests.support.redis_groups import RedisGroup
from tests.support.rescue_odoo import FakeOdoo, fake_odoo, hangs, status
from tests.support.waiting import eventually

CALLS = 200
KEY = Key.from_base64(GATEWAY_KEY)


@pytest.fixture
def deployment(redis_group: RedisGroup, tmp_path: Path) -> Any:
    """SFUs report every second; silence alone would end them after 30 s."""
    with Deployment(
        redis_group.url,
        tmp_path,
        health__ping_interval_ms="1000",
        rescue__allow="http://127.0.0.1:*",
    ) as running:
        yield running


class Calls:
    """The calls of one Odoo, which it moves as the addon does: by asking the gateway again."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.where: dict[str, str] = {}
        self.issuers: dict[str, str] = {}
        self.told: dict[str, int] = {}
        self.told_at: list[float] = []

    async def begin(self, issuer: str) -> None:
        """Make a call."""
        channel = (await asyncio.to_thread(self.replica.ask, issuer)).json()
        self.where[issuer], self.issuers[channel["uuid"]] = channel["url"], issuer

    def on(self, address: str) -> list[str]:
        """The issuers whose call is on an SFU."""
        return [issuer for issuer, url in self.where.items() if url == address]

    async def answer(self, claims: dict[str, Any]) -> web.Response:
        """Do what the addon does with one message."""
        results = {}
        for uuid in claims["uuids"]:
            issuer = self.issuers.pop(uuid, None)
            self.told[uuid] = self.told.get(uuid, 0) + 1
            self.told_at.append(time.monotonic())
            if issuer is None:
                results[uuid] = "kept"
                continue
            answer = await asyncio.to_thread(self.replica.ask, issuer)
            if answer.status_code != 200:
                results[uuid] = "p2p"
                continue
            channel = answer.json()
            results[uuid] = "moved" if channel["uuid"] != uuid else "kept"
            self.where[issuer], self.issuers[channel["uuid"]] = channel["url"], issuer
        return web.json_response({"results": results})


async def calls_of(odoo: FakeOdoo, replica: Replica, count: int, *, channels: str = "channel") -> Calls:
    """Give an Odoo `count` calls."""
    calls = Calls(replica)
    for number in range(count):
        await calls.begin(f"{odoo.base_url}:{channels}:{number}")
    return calls


def kill(fleet: RunningFleet, address: str) -> None:
    """An SFU is gone: no heartbeats, refused connections."""
    fleet.control(address, "heartbeats", {"silent": True})
    fleet.control(address, "fault", {"fault": "refuse"})


async def totals(replica: Replica) -> dict[str, float]:
    """The results that the replica's metrics show."""
    text = (await asyncio.to_thread(replica.client.get, "/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("sfu_gateway_rescued_calls{")]
    return {line.partition('"')[2].partition('"')[0]: float(line.rpartition(" ")[2]) for line in lines}


async def test_every_call_of_a_dead_sfu_is_announced_to_an_odoo_that_answers(deployment: Deployment) -> None:
    row = Row(
        "R37",
        "an SFU with 200 calls dies; the Odoos behind it answer, hang, fail, are gone",
        "every call announced to an Odoo that answers, within 10 s, once; bounded rate",
    )
    [replica], fleet = start(deployment, replicas=1, sfus=1)
    victim = fleet.addresses[0]
    async with AsyncExitStack() as stack:
        well = await stack.enter_async_context(fake_odoo(KEY, hangs))
        others = [
            await stack.enter_async_context(fake_odoo(KEY, answer))
            for answer in (hangs, status(500), status(404))
        ]
        calls = await calls_of(well, replica, CALLS - 20)
        well.answer = calls.answer
        gone = f"http://127.0.0.1:{free_port()}"
        for url in [*(odoo.base_url for odoo in others), gone]:
            for number in range(5):
                await calls.begin(f"{url}:channel:{number}")
        ours = {uuid for uuid, issuer in calls.issuers.items() if issuer.startswith(well.base_url)}
        assert set(calls.where.values()) == {victim}
        second = deployment.fleet(1, [replica], "--ping-interval-ms", "1000", "--max-sessions", "1000000")
        await eventually(lambda: replica.selectable() == 2, timeout_seconds=10)
        began = time.monotonic()
        kill(fleet, victim)
        await eventually(lambda: ours <= set(calls.told), timeout_seconds=20)
        first, last = calls.told_at[0] - began, calls.told_at[-1] - began

        def have_moved() -> bool:
            mine = [issuer for issuer in calls.where if issuer.startswith(well.base_url)]
            return all(calls.where[issuer] == second.addresses[0] for issuer in mine)

        await eventually(have_moved)
        repeated = [uuid for uuid, times in calls.told.items() if times > 1]
    rate = max(len(message["uuids"]) for message in well.messages)
    figure = (
        f"{len(ours)} of {len(ours)} announced, the first after {first:.1f} s, the last after {last:.1f} s; "
        f"{len(repeated)} twice; at most {rate} per message, {well.most_at_once} message at a time"
    )
    is_bounded = rate <= 50 and well.most_at_once == 1
    row.record(figure, kept=last <= 10 and not repeated and is_bounded)


async def test_the_agent_beside_a_dead_sfu_reports_it(redis_group: RedisGroup, tmp_path: Path) -> None:
    row = Row(
        "R37 (agent)",
        "an SFU is killed, its agent lives; heartbeats every 10 s",
        "every call announced within 5 s, once",
    )
    with Deployment(
        redis_group.url,
        tmp_path,
        rescue__allow="http://127.0.0.1:*",
        overload__max_cpu="9",
        overload__max_load="9",
    ) as deployment:
        [replica], _ = start(deployment, replicas=1, sfus=0)
        victim = deployment.fleet(1, [])
        [address] = victim.addresses
        deployment.agent(address, victim.key_of(address), [replica])
        async with fake_odoo(KEY, hangs) as odoo:
            calls = await calls_of(odoo, replica, 20)
            odoo.answer = calls.answer
            assert set(calls.where.values()) == {address}
            other = deployment.fleet(1, [replica])
            await eventually(lambda: replica.selectable() == 2, timeout_seconds=10)
            began = time.monotonic()
            victim.process.kill()
            await eventually(lambda: set(calls.where.values()) == set(other.addresses), timeout_seconds=20)
            first, last = calls.told_at[0] - began, calls.told_at[-1] - began
        repeated = len(odoo.uuids) - len(set(odoo.uuids))
    times = f"the first after {first:.1f} s, the last after {last:.1f} s"
    figure = f"{len(calls.told)} announced, {times}; {repeated} twice"
    row.record(figure, kept=last <= 5 and not repeated and odoo.messages[0]["reason"] == "unreachable")


async def test_a_sweeper_that_is_killed_in_the_middle_leaves_no_call_out(deployment: Deployment) -> None:
    row = Row(
        "R37 (sweeper)",
        "an SFU with 200 calls dies, and the sweeper that tells Odoo is killed in the middle",
        "every call announced; none moved twice",
    )
    leader = deployment.sweeper()
    await eventually(lambda: '"leading"' in leader.output)
    [replica], fleet = start(deployment, replicas=1, sfus=1)  # with a sweeper that stands by
    async with fake_odoo(KEY, hangs) as odoo:
        calls = await calls_of(odoo, replica, CALLS)
        before = set(calls.issuers)
        second = deployment.fleet(1, [replica], "--ping-interval-ms", "1000", "--max-sessions", "1000000")
        await eventually(lambda: replica.selectable() == 2, timeout_seconds=10)
        moved: list[str] = []

        async def answer(claims: dict[str, Any]) -> web.Response:
            response = await calls.answer(claims)
            assert isinstance(response.body, bytes)
            results = json.loads(response.body)["results"]
            moved.extend(uuid for uuid, result in results.items() if result == "moved")
            if len(odoo.messages) == 2:
                await asyncio.to_thread(leader.kill)
            return response

        odoo.answer = answer
        kill(fleet, fleet.addresses[0])
        await eventually(lambda: set(calls.where.values()) == set(second.addresses), timeout_seconds=40)
    repeated = len(odoo.uuids) - len(set(odoo.uuids))
    figure = f"{len(set(odoo.uuids))} of {CALLS} announced in {len(odoo.messages)} messages, {repeated} twice"
    row.record(figure, kept=before == set(odoo.uuids) and sorted(moved) == sorted(before))


async def test_no_call_is_announced_twice_when_every_sfu_dies(deployment: Deployment) -> None:
    row = Row("R37 (all)", "every SFU dies", "each call announced once, with no SFU available; no loop")
    [replica], fleet = start(deployment, replicas=1, sfus=2)
    async with fake_odoo(KEY, hangs) as odoo:
        calls = await calls_of(odoo, replica, 20)
        odoo.answer = calls.answer
        for address in fleet.addresses:
            fleet.control(address, "heartbeats", {"silent": True})
        for address in fleet.addresses:
            fleet.control(address, "fault", {"fault": "refuse"})
        await eventually(lambda: len(calls.told) == 20, timeout_seconds=20)
        await asyncio.sleep(3)
        figure = f"{len(odoo.uuids)} announced for 20 calls, in {len(odoo.messages)} messages"
    row.record(figure, kept=len(odoo.uuids) == 20)


async def test_a_drain_moves_its_calls_under_load(deployment: Deployment) -> None:
    row = Row(
        "R37 (drain)", "an SFU with calls is drained with --move", "every call elsewhere, nothing failed"
    )
    [replica], fleet = start(deployment, replicas=1, sfus=3)
    async with fake_odoo(KEY, hangs) as odoo:
        calls = await calls_of(odoo, replica, 90)
        odoo.answer = calls.answer
        drained = max(fleet.addresses, key=lambda address: len(calls.on(address)))
        there = calls.on(drained)
        assert there
        failed = 0
        async with httpx.AsyncClient(base_url=replica.url, trust_env=False) as client:
            order = ("sfu", "drain", drained, "--move", "--wait", "--yes", "--gateway", replica.url)
            drain = deployment.command(*order)
            await asyncio.to_thread(drain.start)

            async def has_moved() -> bool:
                nonlocal failed
                joined = await asyncio.gather(
                    *(asyncio.to_thread(replica.ask, f"https://odoo.example:channel:{n}") for n in range(5))
                )
                failed += sum(answer.status_code != 200 for answer in joined)
                assert (await client.get("/noop")).status_code == 200
                return not calls.on(drained)

            await eventually(has_moved, timeout_seconds=15)

        def moves() -> dict[str, int]:
            [sfu] = [sfu for sfu in replica.health()["sfus"] if sfu["address"] == drained]
            counts: dict[str, int] = sfu["moves"]
            return counts

        # The load's calls belong to an Odoo that may not be told, so those that the SFU had by then are kept.
        await eventually(
            lambda: moves() | {"kept": 0} == {"left": 0, "moved": len(there), "kept": 0, "failed": 0}
        )
        assert await asyncio.to_thread(drain.wait) == 0, drain.output
        last = [line for line in drain.output.splitlines() if "calls:" in line][-1]
        assert last.endswith(f"calls: 0 left, {len(there)} moved, {moves()['kept']} kept, 0 failed")
    figure = f"{len(there)} calls moved in {len(odoo.messages)} messages; {failed} other requests failed"
    row.record(figure, kept=not failed and sorted(odoo.uuids) == sorted(set(odoo.uuids)))
