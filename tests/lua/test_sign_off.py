"""sign_off.lua: an SFU goes."""

from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from app.errors import AddressLeased
from tests.lua.fleet import KEY, OTHER_KEY, SEALING, A, B, Fleet


async def test_an_sfu_is_out_at_once(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat(A)
    await fleet.beat(B, cpu=1.0)
    for address in (A, B):
        assert await fleet.registry.registrations.sign_off(address, KEY)
    keys = fleet.keys
    gone = (keys.deadlines, keys.load(), keys.load("eu"), keys.overloaded())
    assert await redis.exists(*gone) == 0
    assert await fleet.events(A) == ["up registered", "down signed-off"]


async def test_it_stays_listed_as_signed_off(fleet: Fleet) -> None:
    await fleet.beat(A, channels=2, sessions=7)
    await fleet.registry.registrations.sign_off(A, KEY)
    fleet.wait(1_000)
    [status] = await fleet.registry.fleet.sfus()
    assert (status.address, status.region, status.state, status.status) == (A, "eu", "signed-off", "down")
    assert (status.down_reason, status.down_at) == ("signed-off", fleet.now_ms - 1_000)
    assert (status.channels, status.sessions, status.heartbeat_age_ms) == (2, 7, 1_000)


async def test_said_twice_it_happens_once(fleet: Fleet) -> None:
    await fleet.beat()
    assert await fleet.registry.registrations.sign_off(A, KEY)
    assert not await fleet.registry.registrations.sign_off(A, KEY)
    assert await fleet.events(A) == ["up registered", "down signed-off"]


async def test_an_sfu_that_is_reported_gone_is_a_loss_and_no_sign_off(fleet: Fleet) -> None:
    await fleet.beat()
    assert await fleet.registry.registrations.sign_off(A, KEY, is_gone=True)
    assert not await fleet.registry.registrations.sign_off(A, KEY, is_gone=True)
    await fleet.beat()
    assert await fleet.events(A) == ["up registered", "down unreachable", "up returned"]


async def test_sfus_that_are_reported_gone_all_at_once_are_kept(fleet: Fleet) -> None:
    addresses = [f"http://sfu{number}:8070" for number in range(6)]
    for address in addresses:
        await fleet.beat(address)
    removed = [
        await fleet.registry.registrations.sign_off(address, KEY, is_gone=True) for address in addresses
    ]
    assert removed == [True, True, True, True, False, False]
    assert await fleet.registry.registrations.sign_off(addresses[-1], KEY), "a sign-off is always believed"


async def test_nobody_else_can_sign_it_off(fleet: Fleet) -> None:
    await fleet.beat()
    with pytest.raises(AddressLeased):
        await fleet.registry.registrations.sign_off(A, OTHER_KEY)
    assert await fleet.state() == "selectable"


async def test_a_rotated_sealing_key_signs_off_the_same_sfu_key(
    fleet: Fleet, make_fleet: Callable[..., Fleet]
) -> None:
    await fleet.beat()
    rotated = make_fleet(sealing=(b"sealing-key-0002", SEALING))
    with pytest.raises(AddressLeased):
        await rotated.registry.registrations.sign_off(A, OTHER_KEY)
    assert await rotated.registry.registrations.sign_off(A, KEY)


async def test_one_that_has_gone_no_longer_counts_as_ejected(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A)
    await fleet.registry.registrations.sign_off(A, KEY)
    assert await redis.exists(fleet.keys.ejected("eu"), fleet.keys.returning) == 0
