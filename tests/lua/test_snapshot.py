"""snapshot.lua: the selectable fleet, as replicas keep it for the time without Redis."""

from redis.asyncio import Redis

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
    assert snapshot.nodes == (
        SnapshotNode(A, "us", placement.sealed_key, "https://a.example", load, 14, 1_000),
    )
    assert (snapshot.sessions_per_channel, snapshot.is_held) == (4, False)


async def test_the_best_come_first(fleet: Fleet) -> None:
    for sessions, address in ((3, A), (1, B), (2, C)):
        await fleet.beat(address, sessions=sessions)
    assert [node.address for node in (await fleet.registry.snapshot()).nodes] == [B, C, A]


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
