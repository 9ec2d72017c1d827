"""drain.lua: an SFU takes no new channels."""

import pytest
from redis.asyncio import Redis

from app.errors import UnknownSfu
from tests.lua.fleet import KEY, A, B, Fleet


async def test_a_drain_is_said_once_and_told_to_the_sfu(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=1)
    for _ in range(2):
        await fleet.registry.drain(A)
        assert (await fleet.beat(A, sessions=1)).is_draining
    assert await fleet.events() == ["up registered", "draining operator"]
    assert await fleet.listed() == await fleet.listed("eu") == set()


async def test_what_a_person_sees_is_address_and_deadline(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.registry.drain(A)
    await fleet.registry.drain(B, deadline_ms=60_000)
    assert await redis.hgetall(fleet.keys.draining) == {A: "0", B: str(fleet.now_ms + 60_000)}
    assert (await fleet.registry.describe(B)).drain_until == fleet.now_ms + 60_000


async def test_a_lost_sfu_can_be_drained_before_it_returns(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.registry.sign_off(A, KEY)
    await fleet.registry.drain(A, deadline_ms=60_000)
    assert (await fleet.beat()).is_draining
    assert (await fleet.registry.describe(A)).drain_until == fleet.now_ms + 60_000


async def test_a_failed_sfu_drains_when_it_is_back(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A)
    await fleet.registry.drain(A)
    assert await fleet.standing(A) == "failed"
    await fleet.beat(A, sessions=1)
    assert await fleet.standing(A) == "draining"
    assert await fleet.events(A) == ["up registered", "down failed", "draining operator"]


async def test_an_unknown_sfu_cannot_be_drained(fleet: Fleet, redis: Redis) -> None:
    with pytest.raises(UnknownSfu):
        await fleet.registry.drain(A)
    assert await redis.exists(fleet.keys.draining) == 0
