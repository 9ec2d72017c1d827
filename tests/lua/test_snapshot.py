"""snapshot.lua: the living fleet, as replicas keep it for the time without Redis."""

import random

import pytest
from redis.asyncio import Redis

from app.errors import NoSfuAvailable, Overloaded
from app.registry.snapshot import SnapshotNode, SnapshotPage, SnapshotReader
from tests.lua.fleet import KEY, A, B, C, D, E, Fleet


async def test_the_living_fleet_with_all_that_a_placement_needs(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=10, region="us", public_url="https://a.example")
    placement = await fleet.select()
    snapshot = await fleet.registry.snapshots.read()
    load = 0.5 * 14 / 1_000
    assert snapshot.nodes == (
        SnapshotNode(
            A, "us", placement.sealed_key, "https://a.example", load, 14, 1_000, "selectable", generation=1
        ),
    )
    assert (snapshot.sessions_per_channel, snapshot.is_held) == (4, False)
    assert snapshot.at_ms == fleet.now_ms


async def test_each_sfu_says_what_it_may_be_used_for(fleet: Fleet) -> None:
    for address in (A, B, C, D, E):
        await fleet.beat(address)
    await fleet.beat(B, cpu=1.0)
    await fleet.registry.fleet.drain(C)
    await fleet.registry.fleet.drain(D, deadline_ms=1)
    await fleet.fail(E, times=fleet.policy.failure_threshold)
    fleet.wait(1)
    nodes = {
        node.address: (node.eligibility, node.state) for node in (await fleet.registry.snapshots.read()).nodes
    }
    assert nodes == {
        A: ("selectable", "selectable"),
        B: ("sticky-only", "overloaded"),
        C: ("sticky-only", "draining"),
        E: ("last-resort", "ejected"),
    }


async def test_half_open_sfu_takes_channels_while_its_permit_is_free(fleet: Fleet) -> None:
    await fleet.half_open(A)
    [free] = (await fleet.registry.snapshots.read()).nodes
    await fleet.select()
    [taken] = (await fleet.registry.snapshots.read()).nodes
    assert (free.state, free.eligibility) == ("half-open", "selectable")
    assert (taken.state, taken.eligibility) == ("half-open", "sticky-only")


async def test_every_sfu_is_read_while_all_of_them_report(fleet: Fleet) -> None:
    """An order by load would move under the reader, which then misses some and reads others twice."""
    addresses = {f"http://{number}.test" for number in range(500)}
    for address in addresses:
        await fleet.beat(address)
    draw = random.Random(1)

    async def page(cursor: str, count: int, after_event: str) -> SnapshotPage:
        for address in draw.sample(sorted(addresses), 20):
            await fleet.beat(address, sessions=draw.randrange(900))
        return await fleet.registry.snapshots.page(cursor, count, after_event)

    for _ in range(3):
        assert (await SnapshotReader(page).read()).addresses == addresses


async def test_the_expired_are_left_out(fleet: Fleet) -> None:
    await fleet.beat(A)
    fleet.wait(30_000)
    await fleet.beat(D)
    assert [node.address for node in (await fleet.registry.snapshots.read()).nodes] == [D]


async def test_a_large_fleet_comes_in_pages(fleet: Fleet) -> None:
    for number in range(250):
        await fleet.beat(f"http://{number}.test")
    assert len((await fleet.registry.snapshots.read()).nodes) == 250


async def test_it_says_when_most_of_the_fleet_is_silent(fleet: Fleet) -> None:
    for number in range(5):
        await fleet.beat(f"http://{number}.test")
    fleet.wait(19_999)
    assert not (await fleet.registry.snapshots.read()).is_held
    fleet.wait(1)
    assert (await fleet.registry.snapshots.read()).is_held


async def test_an_expired_sfu_among_the_best_does_not_end_a_large_fleet(fleet: Fleet) -> None:
    await fleet.beat(A)
    fleet.wait(30_000)
    for number in range(150):
        await fleet.beat(f"http://{number}.test", sessions=1)
    assert len((await fleet.registry.snapshots.read()).nodes) == 150


async def test_another_beginning_says_that_data_was_lost(fleet: Fleet, redis: Redis) -> None:
    assert (await fleet.registry.snapshots.read()).began_at == ""
    await fleet.beat(A)
    began = str(fleet.now_ms)
    fleet.wait(1_000)
    await fleet.beat(B)
    await fleet.registry.registrations.sign_off(A, KEY)
    await fleet.beat(A)
    assert (await fleet.registry.snapshots.read()).began_at == began
    await redis.flushall()
    assert (await fleet.registry.snapshots.read()).began_at == ""
    await fleet.beat(A)
    assert (await fleet.registry.snapshots.read()).began_at == str(fleet.now_ms)


async def test_the_epoch_moves_with_members_and_registrations_alone(fleet: Fleet) -> None:
    async def epoch() -> str:
        return (await fleet.registry.snapshots.read()).epoch

    seen = [await epoch()]
    for deed in (
        fleet.beat(A, instance="one"),
        fleet.beat(B),
        fleet.beat(A, instance="two"),
        fleet.beat(A, instance="two", region="us"),
        fleet.registry.registrations.sign_off(B, KEY),
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
    await fleet.registry.fleet.drain(A)
    with pytest.raises(NoSfuAvailable) as none:
        await fleet.select()
    assert {overloaded.value.epoch, none.value.epoch} == {(await fleet.registry.snapshots.read()).epoch}


# What changed


async def test_a_later_page_has_the_sfus_that_transitions_name(fleet: Fleet) -> None:
    for number in range(300):
        await fleet.beat(f"http://{number}.test")
    event_id = (await fleet.registry.snapshots.page("", 10, "")).event_id
    await fleet.beat(A)
    await fleet.registry.registrations.sign_off("http://7.test", KEY)
    page = await fleet.registry.snapshots.page("", 10, event_id)
    assert A in {row[0] for row in page.rows}
    assert "http://7.test" in page.absent
    assert len(page.rows) < 60
    again = await fleet.registry.snapshots.page("", 10, page.event_id)
    assert A not in {row[0] for row in again.rows}


async def test_a_burst_of_transitions_comes_in_pages(fleet: Fleet) -> None:
    await fleet.beat(A)
    event_id = (await fleet.registry.snapshots.page("", 1, "")).event_id
    for number in range(150):
        await fleet.beat(f"http://{number}.test")
    first = await fleet.registry.snapshots.page("", 1, event_id)
    assert first.has_more_events
    second = await fleet.registry.snapshots.page("", 1, first.event_id)
    assert not second.has_more_events
    assert {row[0] for row in [*first.rows, *second.rows]} >= {
        f"http://{number}.test" for number in range(150)
    }
