"""snapshot.lua: the living fleet, as replicas keep it for the time without Redis."""

import random

from redis.asyncio import Redis

from app.registry.snapshot import SnapshotNode, SnapshotPage, SnapshotReader
from tests.lua.fleet import KEY, A, B, C, D, E, Fleet


async def test_the_living_fleet_with_all_that_a_placement_needs(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=10, region="us", public_url="https://a.example")
    placement = await fleet.select()
    snapshot = await fleet.registry.snapshot()
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
    await fleet.registry.drain(C)
    await fleet.registry.drain(D, deadline_ms=1)
    await fleet.fail(E)
    fleet.wait(1)
    nodes = {node.address: node.eligibility for node in (await fleet.registry.snapshot()).nodes}
    assert nodes == {A: "selectable", B: "sticky-only", C: "sticky-only", E: "last-resort"}


async def test_every_sfu_is_read_while_all_of_them_report(fleet: Fleet) -> None:
    """An order by load would move under the reader, which then misses some and reads others twice."""
    addresses = {f"http://{number}.test" for number in range(500)}
    for address in addresses:
        await fleet.beat(address)
    draw = random.Random(1)

    async def page(cursor: str, count: int, after_event: str) -> SnapshotPage:
        for address in draw.sample(sorted(addresses), 20):
            await fleet.beat(address, sessions=draw.randrange(900))
        return await fleet.registry.snapshot_page(cursor, count, after_event)

    for _ in range(3):
        assert (await SnapshotReader(page).read()).addresses == addresses


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


async def test_another_epoch_says_that_data_was_lost(fleet: Fleet, redis: Redis) -> None:
    assert (await fleet.registry.snapshot()).epoch == ""
    await fleet.beat(A)
    began = str(fleet.now_ms)
    fleet.wait(1_000)
    await fleet.beat(B)
    await fleet.registry.sign_off(A, KEY)
    await fleet.beat(A)
    assert (await fleet.registry.snapshot()).epoch == began
    await redis.flushall()
    assert (await fleet.registry.snapshot()).epoch == ""
    await fleet.beat(A)
    assert (await fleet.registry.snapshot()).epoch == str(fleet.now_ms)


# What changed


async def test_a_later_page_has_the_sfus_that_transitions_name(fleet: Fleet) -> None:
    for number in range(300):
        await fleet.beat(f"http://{number}.test")
    event_id = (await fleet.registry.snapshot_page("0", 10, "")).event_id
    await fleet.beat(A)
    await fleet.registry.sign_off("http://7.test", KEY)
    page = await fleet.registry.snapshot_page("0", 10, event_id)
    assert A in {row[0] for row in page.rows}
    assert "http://7.test" in page.absent
    assert len(page.rows) < 60
    again = await fleet.registry.snapshot_page("0", 10, page.event_id)
    assert A not in {row[0] for row in again.rows}


async def test_a_burst_of_transitions_comes_in_pages(fleet: Fleet) -> None:
    await fleet.beat(A)
    event_id = (await fleet.registry.snapshot_page("0", 1, "")).event_id
    for number in range(150):
        await fleet.beat(f"http://{number}.test")
    first = await fleet.registry.snapshot_page("0", 1, event_id)
    assert first.has_more_events
    second = await fleet.registry.snapshot_page("0", 1, first.event_id)
    assert not second.has_more_events
    assert {row[0] for row in [*first.rows, *second.rows]} >= {
        f"http://{number}.test" for number in range(150)
    }
