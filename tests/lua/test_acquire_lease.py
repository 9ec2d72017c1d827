"""lead.lua: one sweeper works at a time."""

from redis.asyncio import Redis

from tests.lua.fleet import Fleet


async def test_one_leads_until_its_lease_ends(fleet: Fleet, redis: Redis) -> None:
    assert await fleet.registry.sweeps.acquire_lease("first", 60_000)
    assert not await fleet.registry.sweeps.acquire_lease("second", 60_000)
    await redis.delete(fleet.keys.sweeper)
    assert await fleet.registry.sweeps.acquire_lease("second", 60_000)
    assert not await fleet.registry.sweeps.acquire_lease("first", 60_000)


async def test_the_leader_renews_its_lease(fleet: Fleet, redis: Redis) -> None:
    await fleet.registry.sweeps.acquire_lease("first", 10_000)
    assert 0 < await redis.pttl(fleet.keys.sweeper) <= 10_000
    await fleet.registry.sweeps.acquire_lease("first", 60_000)
    assert 10_000 < await redis.pttl(fleet.keys.sweeper) <= 60_000
