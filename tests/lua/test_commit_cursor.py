"""mark_relayed.lua: what has been published is remembered."""

from redis.asyncio import Redis

from tests.lua.fleet import Fleet


async def test_nothing_was_published_at_first(fleet: Fleet) -> None:
    assert await fleet.registry.outbox.cursor() == "0-0"


async def test_the_leader_remembers_how_far_it_came(fleet: Fleet) -> None:
    await fleet.registry.sweeps.acquire_lease("first", 60_000)
    assert await fleet.registry.outbox.commit_cursor("first", "5-0")
    assert await fleet.registry.outbox.cursor() == "5-0"


async def test_a_paused_sweeper_cannot_set_its_successor_back(fleet: Fleet, redis: Redis) -> None:
    await fleet.registry.sweeps.acquire_lease("paused", 60_000)
    await redis.delete(fleet.keys.sweeper)
    assert not await fleet.registry.outbox.commit_cursor("paused", "4-0")
    await fleet.registry.sweeps.acquire_lease("successor", 60_000)
    await fleet.registry.outbox.commit_cursor("successor", "5-0")
    assert not await fleet.registry.outbox.commit_cursor("paused", "4-0")
    assert await fleet.registry.outbox.cursor() == "5-0"
