"""forget.lua: every trace of an SFU goes."""

import pytest
from redis.asyncio import Redis

from app.errors import UnknownSfu
from tests.lua.fleet import KEY, A, B, Fleet


async def traces(fleet: Fleet, address: str) -> set[str]:
    """Keys of the fleet that name an address, but for the events, channels and placements that tell of it."""
    return {name for name in await fleet.dump() if address in name or await has(fleet.client, name, address)}


async def has(client: Redis, name: str, address: str) -> bool:
    match await client.type(name):
        case "zset":
            return await client.zscore(name, address) is not None
        case "set":
            return bool(await client.sismember(name, address))
        case "hash":
            return bool(await client.hexists(name, address))
    return False


async def test_nothing_is_left(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.registry.fleet.drain(A, deadline_ms=60_000)
    await fleet.place()
    await fleet.fail(A, times=5)
    assert len(await traces(fleet, A)) >= 4
    await fleet.registry.fleet.forget(A)
    assert await traces(fleet, A) == set()
    assert [status.address for status in await fleet.registry.fleet.sfus()] == [B]


async def test_its_end_is_said_once(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.registry.fleet.forget(A)
    with pytest.raises(UnknownSfu):
        await fleet.registry.fleet.forget(A)
    assert await fleet.events() == ["up registered", "down forgotten"]


async def test_a_lost_sfu_is_forgotten_without_a_word(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.registry.registrations.sign_off(A, KEY)
    await fleet.registry.fleet.forget(A)
    assert await traces(fleet, A) == set()
    assert await fleet.events() == ["up registered", "down signed-off"]


async def test_one_that_still_reports_comes_back_as_new(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.registry.fleet.drain(A)
    await fleet.fail(A, times=5)
    await fleet.registry.fleet.forget(A)
    answer = await fleet.beat(A)
    assert (answer.is_new, answer.is_draining) == (True, False)
    assert await fleet.state(A) == "selectable"
    assert (await fleet.events(A))[-1] == "up registered"
