"""mark_relayed.lua: what has been published is remembered."""

from redis.asyncio import Redis

from tests.lua.fleet import Fleet


async def test_nothing_was_published_at_first(fleet: Fleet) -> None:
    assert await fleet.registry.relayed() == "0-0"


async def test_the_leader_remembers_how_far_it_came(fleet: Fleet) -> None:
    await fleet.registry.lead("first", 60_000)
    assert await fleet.registry.mark_relayed("first", "5-0")
    assert await fleet.registry.relayed() == "5-0"


async def test_a_paused_sweeper_cannot_set_its_successor_back(fleet: Fleet, redis: Redis) -> None:
    await fleet.registry.lead("paused", 60_000)
    await redis.delete(fleet.keys.sweeper)
    assert not await fleet.registry.mark_relayed("paused", "4-0")
    await fleet.registry.lead("successor", 60_000)
    await fleet.registry.mark_relayed("successor", "5-0")
    assert not await fleet.registry.mark_relayed("paused", "4-0")
    assert await fleet.registry.relayed() == "5-0"
