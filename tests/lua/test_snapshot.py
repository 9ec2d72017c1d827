"""snapshot.lua: the fleet that may take channels, as replicas keep it for the time without Redis."""

from typing import Any

import pytest
from redis.asyncio import Redis

from app.errors import NoSfuAvailable, Overloaded
from app.registry.scripts import Argument, Script
from app.registry.snapshot import SnapshotNode
from tests.lua.fleet import KEY, A, B, C, D, Fleet


async def test_the_selectable_fleet_with_all_that_a_placement_needs(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=10, region="us", public_url="https://a.example")
    placement = await fleet.select()
    await fleet.beat(B, cpu=1.0)
    await fleet.beat(C)
    await fleet.registry.drain(C)
    snapshot = await fleet.registry.snapshot()
    load = 0.5 * 14 / 1_000
    first, full = snapshot.nodes
    assert first == SnapshotNode(A, "us", placement.sealed_key, "https://a.example", load, 14, 1_000, 1)
    assert (full.address, full.state, full.is_selectable) == (B, "overloaded", False)
    assert (snapshot.sessions_per_channel, snapshot.is_held) == (4, False)


async def test_pages_follow_each_other_by_address(fleet: Fleet) -> None:
    for sessions, address in ((3, A), (1, B), (2, C)):
        await fleet.beat(address, sessions=sessions)
    assert [node.address for node in (await fleet.registry.snapshot()).nodes] == [A, B, C]


async def test_the_expired_are_left_out(fleet: Fleet) -> None:
    await fleet.beat(A)
    fleet.wait(30_000)
    await fleet.beat(D)
    assert [node.address for node in (await fleet.registry.snapshot()).nodes] == [D]


async def test_a_large_fleet_comes_in_pages(fleet: Fleet) -> None:
    for number in range(250):
        await fleet.beat(f"http://{number}.test")
    assert len((await fleet.registry.snapshot()).nodes) == 250


async def test_it_says_when_most_of_the_fleet_is_silent(fleet: Fleet) -> None:
    for number in range(5):
        await fleet.beat(f"http://{number}.test")
    fleet.wait(19_999)
    assert not (await fleet.registry.snapshot()).is_held
    fleet.wait(1)
    assert (await fleet.registry.snapshot()).is_held


async def test_an_expired_sfu_among_the_best_does_not_end_a_large_fleet(fleet: Fleet) -> None:
    await fleet.beat(A)
    fleet.wait(30_000)
    for number in range(150):
        await fleet.beat(f"http://{number}.test", sessions=1)
    assert len((await fleet.registry.snapshot()).nodes) == 150


async def test_another_beginning_says_that_data_was_lost(fleet: Fleet, redis: Redis) -> None:
    assert (await fleet.registry.snapshot()).began_at == ""
    await fleet.beat(A)
    began = str(fleet.now_ms)
    fleet.wait(1_000)
    await fleet.beat(B)
    await fleet.registry.sign_off(A, KEY)
    await fleet.beat(A)
    assert (await fleet.registry.snapshot()).began_at == began
    await redis.flushall()
    assert (await fleet.registry.snapshot()).began_at == ""
    await fleet.beat(A)
    assert (await fleet.registry.snapshot()).began_at == str(fleet.now_ms)


async def test_the_epoch_moves_with_members_and_registrations_alone(fleet: Fleet) -> None:
    async def epoch() -> str:
        return (await fleet.registry.snapshot()).epoch

    seen = [await epoch()]
    for deed in (
        fleet.beat(A, instance="one"),
        fleet.beat(B),
        fleet.beat(A, instance="two"),
        fleet.beat(A, instance="two", region="us"),
        fleet.registry.sign_off(B, KEY),
    ):
        await deed
        seen.append(await epoch())
    assert len(set(seen)) == len(seen)
    await fleet.beat(A, instance="two", region="us", sessions=5)
    await fleet.place()
    await fleet.fail(A)
    assert await epoch() == seen[-1]


async def test_a_refusal_says_in_which_epoch(fleet: Fleet) -> None:
    await fleet.beat(A, cpu=1.0)
    with pytest.raises(Overloaded) as overloaded:
        await fleet.select()
    await fleet.registry.drain(A)
    with pytest.raises(NoSfuAvailable) as none:
        await fleet.select()
    assert {overloaded.value.epoch, none.value.epoch} == {(await fleet.registry.snapshot()).epoch}


async def test_reports_while_it_is_read_lose_nobody(fleet: Fleet) -> None:
    addresses = [f"http://{number:03}.test" for number in range(250)]
    for address in addresses:
        await fleet.beat(address)
    run, pages = fleet.registry._run, 0  # noqa: SLF001

    async def run_and_report(script: Script, *arguments: Argument) -> Any:
        nonlocal pages
        reply = await run(script, *arguments)
        if script.name == "snapshot":
            pages += 1
            for number, address in enumerate(addresses):
                await fleet.beat(address, sessions=(number * 7 + pages * 31) % 200)
        return reply

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fleet.registry, "_run", run_and_report)
        snapshot = await fleet.registry.snapshot()
    assert pages == 3
    assert [node.address for node in snapshot.nodes] == addresses
