"""set_drain.lua: an SFU takes no new channels."""

import pytest
from redis.asyncio import Redis

from app.errors import UnknownSfu
from tests.lua.fleet import KEY, OTHER_KEY, A, B, Fleet


async def test_a_drain_is_said_once_and_told_to_the_sfu(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=1)
    for _ in range(2):
        await fleet.registry.fleet.drain(A)
        assert (await fleet.beat(A, sessions=1)).is_draining
    assert await fleet.events() == ["up registered", "draining operator"]
    assert await fleet.listed() == await fleet.listed("eu") == set()


async def test_what_a_person_sees_is_the_deadline(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.registry.fleet.drain(A)
    await fleet.registry.fleet.drain(B, deadline_ms=60_000)
    assert await redis.hget(fleet.keys.node(A), "operator_drain") == "0"
    assert await redis.zrange(fleet.keys.drains, 0, -1) == [B]
    assert (await fleet.registry.fleet.describe(B)).drain_until == fleet.now_ms + 60_000


async def test_a_lost_sfu_has_nothing_to_drain(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.registry.registrations.sign_off(A, KEY)
    with pytest.raises(UnknownSfu, match="not registered now"):
        await fleet.registry.fleet.drain(A)


async def test_a_drain_ends_with_its_registration(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat()
    await fleet.registry.fleet.drain(A, deadline_ms=60_000)
    await fleet.registry.registrations.sign_off(A, KEY)
    assert await redis.exists(fleet.keys.drains) == 0
    assert not (await fleet.beat()).is_draining
    assert await fleet.state() == "selectable"


async def test_an_address_that_another_sfu_uses_again_starts_undrained(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.registry.fleet.drain(A)
    fleet.wait(30_000)
    assert not (await fleet.beat(key=OTHER_KEY)).is_draining


async def test_a_drain_outlives_a_restart_in_place(fleet: Fleet) -> None:
    await fleet.beat(instance="one")
    await fleet.registry.fleet.drain(A)
    assert (await fleet.beat(instance="two")).is_draining
    assert await fleet.state() in {"draining", "drained"}


async def test_an_ejected_sfu_drains_at_once(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=1)
    await fleet.beat(B)
    await fleet.fail(A)
    await fleet.registry.fleet.drain(A)
    assert await fleet.state(A) == "draining"
    await fleet.beat(A, sessions=1)
    assert await fleet.state(A) == "draining"
    assert await fleet.events(A) == ["up registered", "down failed", "draining operator"]


async def test_an_unknown_sfu_cannot_be_drained(fleet: Fleet, redis: Redis) -> None:
    with pytest.raises(UnknownSfu):
        await fleet.registry.fleet.drain(A)
    assert await redis.exists(fleet.keys.drains, fleet.keys.node(A)) == 0


async def test_a_drain_of_a_silent_sfu_is_kept_when_the_clock_steps_back(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B, sessions=500)
    fleet.wait(30_000)
    assert await fleet.state(A) == "expired"
    await fleet.registry.fleet.drain(A)
    fleet.wait(-1_000)
    assert await fleet.state(A) == "draining"
    assert (await fleet.select()).address == B
    assert await fleet.events(A) == ["up registered", "draining operator"]
