"""purge.lua: the lost are forgotten in the end."""

from redis.asyncio import Redis

from tests.lua.fleet import KEY, A, B, Fleet

LOST_TTL_MS = 600_000


async def test_the_lost_stay_listed_for_a_while(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat()
    await fleet.registry.sign_off(A, KEY)
    fleet.wait(LOST_TTL_MS - 1)
    assert await fleet.registry.purge() == 0
    assert (await fleet.registry.describe(A)).state == "down"
    fleet.wait(1)
    assert [await fleet.registry.purge() for _ in range(2)] == [1, 0]
    assert await redis.exists(fleet.keys.known, fleet.keys.lost) == 0


async def test_one_that_returned_is_not_forgotten(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.registry.sign_off(A, KEY)
    await fleet.beat(A)
    fleet.wait(LOST_TTL_MS)
    await fleet.beat(A)
    assert await fleet.registry.purge() == 0
    assert (await fleet.registry.describe(A)).state == "up"


async def test_an_operators_drain_outlives_it(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.registry.drain(A)
    await fleet.registry.sign_off(A, KEY)
    fleet.wait(LOST_TTL_MS)
    await fleet.registry.purge()
    assert (await fleet.beat()).is_draining


async def test_a_few_at_a_time(fleet: Fleet) -> None:
    for number in range(30):
        await fleet.beat(f"http://{number}.test")
        await fleet.registry.sign_off(f"http://{number}.test", KEY)
    await fleet.beat(B)
    fleet.wait(LOST_TTL_MS)
    assert [await fleet.registry.purge() for _ in range(3)] == [25, 5, 0]
    assert [status.address for status in await fleet.registry.fleet()] == [B]
