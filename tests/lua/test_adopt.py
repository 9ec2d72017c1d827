"""adopt.lua: what a replica placed by itself while Redis was away."""

import pytest
from redis.asyncio import Redis

from app.errors import TenantLimitReached
from app.registry.placements import Busy, ConfirmedPlacement
from tests.lua.fleet import KEY, A, B, C, Fleet


async def adopt(fleet: Fleet, address: str = A, confirmed_at: int = 0) -> bool:
    return await fleet.registry.adopt(
        tenant="default",
        issuer="issuer",
        address=address,
        uuid="channel of issuer",
        confirmed_at=confirmed_at,
    )


async def test_the_issuer_keeps_its_sfu(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat(A, sessions=900)
    await fleet.beat(B)
    assert await adopt(fleet)
    again = await fleet.select()
    assert (again.address, again.reason, again.uuid) == (A, "sticky", "channel of issuer")
    assert await fleet.registry.sfu_of_channel("channel of issuer") == A
    assert await redis.pttl(fleet.keys.placement("default", "issuer")) > 0


async def test_the_sfu_counts_the_channel_once(fleet: Fleet) -> None:
    await fleet.beat()
    assert [await adopt(fleet) for _ in range(3)] == [True, False, False]
    assert await fleet.reserved() == 4


async def test_what_the_registry_knows_is_not_overwritten(fleet: Fleet) -> None:
    await fleet.beat(B)
    await fleet.place()
    await fleet.beat(A)
    assert not await adopt(fleet)
    assert (await fleet.select()).address == B


async def test_a_placement_on_an_sfu_that_has_gone_is(fleet: Fleet) -> None:
    await fleet.beat(B)
    await fleet.place()
    await fleet.beat(A, sessions=500)
    await fleet.registry.sign_off(B, KEY)
    await fleet.beat(C)
    assert await adopt(fleet)
    assert (await fleet.select()).address == A
    assert await fleet.reserved(A) == 4


async def test_a_request_that_is_placing_the_issuer_is_not_disturbed(fleet: Fleet) -> None:
    await fleet.beat(B)
    await fleet.select(id="placing")
    await fleet.beat(A)
    assert not await adopt(fleet)
    assert isinstance(await fleet.ask(id="another"), Busy)
    fleet.wait(2_500)
    assert await adopt(fleet)
    assert (await fleet.select(id="another")).address == A


async def test_an_sfu_that_has_gone_is_not_adopted(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat()
    await fleet.registry.sign_off(A, KEY)
    assert not await adopt(fleet)
    assert await redis.exists(fleet.keys.placement("default", "issuer")) == 0


# Which one counts (S4, S20)


async def test_the_placement_that_was_confirmed_later_counts(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.registry.drain(A)
    assert (await fleet.place()).address == B
    await fleet.registry.resume(A)
    assert not await adopt(fleet, A, confirmed_at=fleet.now_ms - 1)
    assert (await fleet.select()).address == B
    fleet.wait(5_000)
    assert await adopt(fleet, A, confirmed_at=fleet.now_ms - 1_000)
    assert (await fleet.select()).address == A


async def test_a_channel_whose_people_have_come_long_ago_reserves_nothing(fleet: Fleet) -> None:
    await fleet.beat(A)
    assert await adopt(fleet, A, confirmed_at=fleet.now_ms - 60_000)
    assert await fleet.reserved(A) == 0


async def test_an_adopted_placement_counts_for_its_tenant(fleet: Fleet) -> None:
    await fleet.beat(A)
    await adopt(fleet, A, confirmed_at=fleet.now_ms)
    with pytest.raises(TenantLimitReached):
        await fleet.select("another", max_channels=1)


async def test_replicas_are_told_of_adopted_and_of_created_channels(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.place("first", tenant="acme")
    position, [first] = await fleet.registry.recent_confirmations("", 10)
    assert first == ConfirmedPlacement("acme", "first", A, "channel of first", fleet.now_ms)
    await adopt(fleet, A, confirmed_at=fleet.now_ms - 7)
    _, [second] = await fleet.registry.recent_confirmations(position, 10)
    assert second == ConfirmedPlacement("default", "issuer", A, "channel of issuer", fleet.now_ms - 7)
