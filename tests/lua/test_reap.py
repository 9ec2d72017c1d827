"""reap.lua: what becomes of requests that never reported."""

import pytest
from redis.asyncio import Redis

from app.errors import TenantLimitReached
from app.registry.placements import Busy, Placement
from app.registry.sfus import Sweep
from tests.lua.fleet import KEY, A, B, Fleet


async def test_a_hold_is_not_reaped_early(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.select(lock_ms=2_500)
    fleet.wait(2_499)
    assert await fleet.registry.sweeps.reap() == Sweep(0, has_more=False)
    fleet.wait(1)
    assert await fleet.registry.sweeps.reap() == Sweep(1, has_more=False)
    assert await fleet.registry.sweeps.reap() == Sweep(0, has_more=False)


async def test_an_issuer_whose_channel_may_exist_stays_with_its_sfu(fleet: Fleet, redis: Redis) -> None:
    """A replica answers its caller before it reports, and may be killed between the two."""
    await fleet.beat(A)
    await fleet.beat(B, sessions=100)
    await fleet.select(id="killed", caller="192.0.2.1", max_placements=1)
    fleet.wait(2_500)
    await fleet.registry.sweeps.reap()
    assert await redis.exists(fleet.keys.attempts) == 0
    assert await fleet.reserved() == 0
    await fleet.beat(A, sessions=900)
    fleet.wait(20_000)
    await fleet.beat(A, sessions=900)
    await fleet.beat(B)
    next_one = await fleet.select(id="next", caller="192.0.2.2")
    assert (next_one.address, next_one.caller, next_one.reason) == (A, "192.0.2.1", "sticky")


async def test_an_issuer_whose_channel_may_exist_returns_within_the_tenants_limit_only(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.select("killed", max_placements=1)
    fleet.wait(2_500)
    await fleet.registry.sweeps.reap()
    await fleet.place("other", max_placements=1)
    with pytest.raises(TenantLimitReached):
        await fleet.select("killed", id="next", max_placements=1)
    assert (await fleet.select("killed", id="next", max_placements=2)).reason == "sticky"


async def test_it_stays_without_a_sweeper_too(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.select(id="killed")
    await fleet.beat(B)
    await fleet.beat(A, sessions=900)
    fleet.wait(2_500)
    assert (await fleet.select(id="next")).address == A


async def test_an_attempt_that_never_reported_does_not_count_for_its_tenant(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.select(max_placements=1)
    fleet.wait(2_500)
    await fleet.registry.sweeps.reap()
    assert (await fleet.select("another", max_placements=1)).address == A


async def test_an_issuer_leaves_an_sfu_that_has_gone_with_its_channel(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.select(max_placements=1)
    await fleet.registry.registrations.sign_off(A, KEY)
    fleet.wait(2_500)
    await fleet.registry.sweeps.reap()
    await fleet.beat(B)
    assert (await fleet.select("another", max_placements=1)).address == B
    assert (await fleet.select(id="next")).address == B


async def test_the_failure_of_another_request_unpins_no_channel_that_may_exist(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B, sessions=100)
    await fleet.select(id="killed")
    fleet.wait(2_500)
    await fleet.registry.sweeps.reap()
    await fleet.report("failed", id="former", address=B)
    assert (await fleet.select(id="next")).address == A


async def test_a_confirmed_placement_stays(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.place(max_placements=1)
    await fleet.beat(B)
    fleet.wait(1_000)
    await fleet.select(id="dead")
    fleet.wait(2_500)
    await fleet.registry.sweeps.reap()
    with pytest.raises(TenantLimitReached):
        await fleet.select("another", max_placements=1)
    again = await fleet.select(id="next")
    assert (again.address, again.uuid) == (A, "channel of issuer")


async def test_a_holder_that_had_no_sfu_any_more_is_reaped_too(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat(A)
    await fleet.select()
    await fleet.report("failed", is_final=False)
    assert isinstance(await fleet.ask(id="another"), Busy)
    fleet.wait(2_500)
    await fleet.registry.sweeps.reap()
    assert await redis.exists(fleet.keys.placement("default", "issuer"), fleet.keys.attempts) == 0


async def test_the_half_open_permit_is_free_again(fleet: Fleet) -> None:
    await fleet.beat(B, sessions=500)
    await fleet.half_open(A)
    await fleet.select(lock_ms=2_500)
    assert await fleet.listed("eu") == {B}
    fleet.wait(2_500)
    await fleet.registry.sweeps.reap()
    assert await fleet.listed("eu") == {A, B}
    assert await fleet.state() == "half-open"


async def test_the_permit_of_another_request_is_not(fleet: Fleet) -> None:
    await fleet.beat(B, sessions=500)
    await fleet.half_open(A)
    await fleet.select("dead", lock_ms=1_000)
    fleet.wait(1_000)
    await fleet.beat(A)
    assert (await fleet.select("alive")).address == A
    await fleet.registry.sweeps.reap()
    assert await fleet.listed() == {B}


async def test_a_placement_that_was_lost_meanwhile_is_no_obstacle(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat()
    await fleet.select()
    await redis.delete(fleet.keys.placement("default", "issuer"))
    fleet.wait(2_500)
    assert (await fleet.registry.sweeps.reap()).count == 1
    assert await redis.exists(fleet.keys.attempts) == 0


async def test_issuers_may_have_any_name(fleet: Fleet) -> None:
    await fleet.beat()
    issuer = "https://odoo.example:channel:7\n:ü"
    await fleet.select(issuer)
    fleet.wait(2_500)
    await fleet.registry.sweeps.reap()
    assert isinstance(await fleet.ask(issuer, id="next"), Placement)


async def test_a_few_at_a_time(fleet: Fleet) -> None:
    await fleet.beat()
    for number in range(30):
        await fleet.select(f"{number}")
    fleet.wait(2_500)
    assert await fleet.registry.sweeps.reap() == Sweep(25, has_more=True)
    assert await fleet.registry.sweeps.reap() == Sweep(5, has_more=False)
    assert await fleet.reserved() == 0


async def test_a_channel_that_is_created_after_the_lock_was_reaped_is_placed(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B, sessions=100)
    await fleet.select(id="slow", max_placements=1)
    fleet.wait(2_500)
    await fleet.registry.sweeps.reap()
    assert await fleet.reserved() == 0
    await fleet.report("created", id="slow", is_limited=True)
    assert await fleet.reserved() == 4
    again = await fleet.select(id="next")
    assert (again.address, again.reason) == (A, "sticky")
    with pytest.raises(TenantLimitReached):
        await fleet.select("another", max_placements=1)


async def test_a_confirmation_outlives_the_lock_of_a_call_that_ran_late(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B, sessions=100)
    await fleet.select(id="timed out, ran later")
    await fleet.confirm(B)
    fleet.wait(2_500)
    await fleet.registry.sweeps.reap()
    assert await fleet.reserved(A) == 0
    assert (await fleet.select(id="next")).address == B
