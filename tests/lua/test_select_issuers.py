"""select.lua: one SFU per issuer, one holder at a time, a tenant's limit."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from app.errors import NoSfuAvailable, Overloaded, TenantLimitReached
from app.registry.placements import Busy, Placement
from tests.lua.fleet import KEY, OTHER_KEY, A, B, Fleet

TTL_MS = 14_400_000


@pytest.fixture
async def placed(fleet: Fleet) -> Fleet:
    """A fleet in which `issuer` has a channel on A and B is idle; the next request will hold the placement."""
    await fleet.beat(A)
    await fleet.place()
    await fleet.beat(B)
    fleet.wait(1_000)
    return fleet


# Sticky


async def test_an_issuer_keeps_its_sfu(placed: Fleet) -> None:
    again = await placed.select()
    assert (again.address, again.reason, again.is_locked) == (A, "sticky", True)
    assert again.uuid == "channel of issuer"


async def test_the_same_issuer_of_another_tenant_is_another_one(placed: Fleet) -> None:
    assert (await placed.select(tenant="other")).address == B


@pytest.mark.parametrize("figures", [{"sessions": 1_000}, {"cpu": 1.0}])
async def test_a_full_sfu_keeps_its_calls(placed: Fleet, figures: dict[str, Any]) -> None:
    await placed.beat(A, **figures)
    assert (await placed.select()).address == A


async def test_a_draining_sfu_keeps_its_calls(placed: Fleet) -> None:
    await placed.registry.fleet.drain(A)
    await placed.beat(A)
    assert (await placed.select()).address == A


async def test_a_draining_sfu_keeps_its_calls_until_the_deadline(placed: Fleet) -> None:
    await placed.registry.fleet.drain(A, deadline_ms=10_000)
    placed.wait(9_999)
    assert (await placed.place()).address == A
    placed.wait(1)
    assert (await placed.select()).address == B


async def test_an_issuer_moves_when_its_sfu_signs_off(placed: Fleet) -> None:
    await placed.registry.registrations.sign_off(A, KEY)
    moved = await placed.select()
    assert (moved.address, moved.reason, moved.uuid) == (B, "least-load", "")


async def test_an_issuer_moves_when_its_sfu_expires(placed: Fleet) -> None:
    placed.wait(20_000)
    await placed.beat(B)
    placed.wait(10_000)
    assert (await placed.select()).address == B


@pytest.mark.parametrize("failures", [1, 5])
async def test_an_issuer_moves_when_its_sfu_has_failed(placed: Fleet, failures: int) -> None:
    await placed.fail(A, times=failures)
    assert (await placed.select()).address == B


async def test_an_issuer_moves_when_the_breaker_of_its_sfu_is_open(placed: Fleet) -> None:
    await placed.fail(A, times=5)
    await placed.beat(A)
    assert await placed.state(A) == "ejected"
    assert (await placed.select()).address == B


async def test_an_issuer_moves_when_the_key_of_its_sfu_is_wrong(placed: Fleet) -> None:
    await placed.fail(A, "misconfigured")
    assert (await placed.select()).address == B


async def test_an_issuer_moves_when_its_request_has_tried_its_sfu(placed: Fleet) -> None:
    assert (await placed.select(exclude=(A,))).address == B


async def test_an_allowed_region_limits_sticky_placements_too(placed: Fleet) -> None:
    assert (await placed.place(allow=("eu", "us"))).address == A
    placed.wait(1_000)
    with pytest.raises(NoSfuAvailable):
        await placed.select(allow=("us",), groups=(("us",),))


async def test_an_issuer_that_moved_stays_where_it_moved(placed: Fleet) -> None:
    await placed.fail(A)
    assert (await placed.place()).address == B
    await placed.beat(A)
    placed.wait(1_000)
    assert (await placed.select()).address == B


async def test_a_placement_is_remembered_since_its_last_request(placed: Fleet, redis: Redis) -> None:
    name = placed.keys.placement("default", "issuer")
    assert TTL_MS - 10_000 < await redis.pttl(name) <= TTL_MS
    await redis.pexpire(name, 60_000)
    await placed.place()
    assert await redis.pttl(name) > TTL_MS - 10_000


# Single flight


async def test_others_wait_for_the_holder(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.select(id="first", lock_ms=2_500)
    fleet.wait(1_000)
    assert await fleet.ask(id="second") == Busy(1_500, A)
    assert (await fleet.select("another issuer")).address == B


async def test_a_hundred_requests_of_one_issuer_make_one_placement(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    answers = await asyncio.gather(*(fleet.ask(id=f"{number}") for number in range(100)))
    assert sum(isinstance(answer, Placement) for answer in answers) == 1
    assert await fleet.reserved(A) + await fleet.reserved(B) == 4


async def test_after_the_first_the_others_pass_freely(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    first = await fleet.place(id="first")
    for number in range(3):
        free = await fleet.select(id=f"{number}")
        assert (free.address, free.is_locked, free.uuid) == (first.address, False, "channel of issuer")
    fleet.wait(999)
    assert not (await fleet.select(id="just in time")).is_locked
    fleet.wait(1)
    assert (await fleet.select(id="a second later")).is_locked
    assert isinstance(await fleet.ask(id="behind it"), Busy)


async def test_a_failed_request_lets_the_next_one_in(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.select(id="first")
    await fleet.report("failed", id="first")
    assert (await fleet.select(id="second")).address == B


async def test_the_next_attempt_of_the_holder_gets_another_sfu(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    first = await fleet.select(id="first")
    await fleet.report("failed", first.address, id="first", is_final=False)
    assert isinstance(await fleet.ask(id="second"), Busy)
    second = await fleet.select(id="first", attempt=2, exclude=(first.address,))
    assert {first.address, second.address} == {A, B}


async def test_the_same_attempt_sent_again_reserves_once(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    first = await fleet.select()
    again = await fleet.select()
    assert (again.address, again.is_locked) == (first.address, True)
    assert await fleet.reserved(A) + await fleet.reserved(B) == 4


async def test_the_same_attempt_sent_again_gets_the_same_sfu_whatever_became_of_it(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B, sessions=100)
    await fleet.select()
    await fleet.fail(A)
    assert (await fleet.select()).address == A


async def test_a_dead_owner_is_succeeded_at_the_same_sfu(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B, sessions=500)
    await fleet.select(id="dead", lock_ms=2_500)
    fleet.wait(2_499)
    assert await fleet.ask(id="heir") == Busy(1, A)
    fleet.wait(1)
    assert (await fleet.select(id="heir")).address == A
    await fleet.registry.sweeps.reap()
    assert await fleet.reserved(A) == 4
    await fleet.report("failed", id="heir")
    assert await fleet.reserved(A) == 0


async def test_a_dead_holder_that_comes_back_changes_nothing(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B, sessions=500)
    await fleet.select(id="slow", lock_ms=2_500)
    fleet.wait(2_500)
    await fleet.select(id="heir")
    await fleet.report("unblamed", id="slow")
    assert isinstance(await fleet.ask(id="third"), Busy)
    assert await fleet.reserved(A) == 4


# A tenant's limit


async def test_a_tenant_has_its_limit(fleet: Fleet) -> None:
    await fleet.beat()
    for issuer in ("one", "two"):
        await fleet.place(issuer, max_placements=2)
    with pytest.raises(TenantLimitReached):
        await fleet.select("three", max_placements=2)
    assert (await fleet.select("three", tenant="other", max_placements=2)).address == A


async def test_a_channel_that_a_tenant_has_counts_once(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.place(max_placements=1)
    fleet.wait(1_000)
    assert (await fleet.place(max_placements=1)).reason == "sticky"
    await fleet.registry.registrations.sign_off(A, KEY)
    await fleet.beat(B)
    assert (await fleet.place(max_placements=1)).address == B


@pytest.mark.parametrize("outcome", ["failed", "unblamed", "misconfigured"])
async def test_a_channel_that_was_not_created_does_not_count(fleet: Fleet, outcome: Any) -> None:
    await fleet.beat()
    await fleet.select("one", max_placements=1)
    await fleet.report(outcome, issuer="one")
    await fleet.beat()
    assert (await fleet.select("two", max_placements=1)).address == A


async def test_a_channel_counts_for_as_long_as_its_placement_is_used(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.place("one", max_placements=1)
    for _ in range(2):
        fleet.wait(TTL_MS - 1)
        await fleet.beat()
        await fleet.place("one", max_placements=1)
        with pytest.raises(TenantLimitReached):
            await fleet.select("two", max_placements=1)
    fleet.wait(TTL_MS)
    await fleet.beat()
    assert (await fleet.select("two", max_placements=1)).address == A


async def test_a_tenant_without_a_limit_is_not_counted(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat()
    await fleet.place()
    assert await redis.exists(fleet.keys.tenant("default")) == 0
    await fleet.place("limited", max_placements=1)
    assert await redis.pttl(fleet.keys.tenant("default")) > TTL_MS - 10_000


async def test_a_region_that_begins_like_an_allowed_one_is_not_allowed(fleet: Fleet) -> None:
    await fleet.beat(A, region="eu-west")
    await fleet.place()
    await fleet.beat(B, region="eu", sessions=100)
    assert (await fleet.select(groups=(("eu",),), allow=("us", "eu"))).address == B


async def test_a_placement_is_not_kept_where_nothing_is_allowed(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.place()
    with pytest.raises(NoSfuAvailable):
        await fleet.select(groups=((),), allow=())


async def test_texts_that_are_no_unicode_have_a_place_too(fleet: Fleet) -> None:
    await fleet.beat()
    broken = "half a pair: \ud83d"
    await fleet.select(broken, id="first")
    await fleet.report("created", issuer=broken, id="first", uuid=broken)
    assert (await fleet.select(broken, id="second")).reason == "sticky"


# Repeated and late calls


async def test_an_attempt_that_is_sent_again_after_its_end_locks_nothing(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.place(id="first")
    fleet.wait(1_000)
    assert await fleet.ask(id="first") == Busy(0, A)
    assert (await fleet.select(id="second")).is_locked


async def test_an_earlier_attempt_that_arrives_late_changes_nothing(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    second = await fleet.select(id="request", attempt=2)
    assert await fleet.ask(id="request", attempt=1) == Busy(0, A)
    again = await fleet.select(id="request", attempt=2)
    assert again.address == second.address
    assert await fleet.reserved(A) + await fleet.reserved(B) == 4


async def test_a_lock_from_before_the_clock_stepped_back_holds_nobody_up(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.select(id="dead")
    fleet.wait(-60_000)
    assert isinstance(await fleet.ask(id="next"), Placement)


# The last resort


async def test_an_ejected_sfu_is_asked_before_a_call_is_refused(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.fail(A, times=5)
    chosen = await fleet.select()
    assert (chosen.address, chosen.reason) == (A, "last-resort")


@pytest.mark.parametrize("figures", [{"is_draining": True}, {"sessions": 1_000}, {"cpu": 1.0}])
async def test_an_ejected_sfu_is_asked_beside_one_that_cannot_take_over(
    fleet: Fleet, figures: dict[str, Any]
) -> None:
    await fleet.beat(A, **figures)
    await fleet.beat(B)
    await fleet.fail(B)
    assert (await fleet.select()).address == B


async def test_a_full_ejected_sfu_is_no_last_resort(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=1_000)
    await fleet.fail(A)
    with pytest.raises(Overloaded):
        await fleet.select()


async def test_an_issuer_of_an_ejected_sfu_stays_with_it_as_the_last_resort(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=500)
    await fleet.place()
    await fleet.beat(B)
    for address in (A, B):
        await fleet.fail(address, times=5)
    fleet.wait(1_000)
    chosen = await fleet.select()
    assert (chosen.address, chosen.reason) == (A, "last-resort")


async def test_a_success_as_the_last_resort_ends_the_ejection(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.fail(A, times=5)
    await fleet.place()
    assert await fleet.state() == "selectable"
    assert (await fleet.events())[-2:] == ["breaker-closed success", "up recovered"]


async def test_while_one_request_has_the_permit_of_the_only_sfu_others_are_not_refused(fleet: Fleet) -> None:
    await fleet.half_open(A)
    await fleet.select("one")
    second = await fleet.select("two")
    assert (second.address, second.reason) == (A, "last-resort")
    await fleet.report("unblamed", A, "two")
    assert await fleet.client.hget(fleet.keys.node(A), "permit") == "request 1 of one"


# Identity


async def test_an_issuer_does_not_follow_its_sfu_into_another_registration(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=1)
    await fleet.place()
    await fleet.registry.registrations.sign_off(A, KEY)
    await fleet.beat(A, sessions=500, key=OTHER_KEY)
    await fleet.beat(B)
    fleet.wait(1_000)
    assert (await fleet.select()).address == B


async def test_every_request_shows_the_caller_that_the_placement_began_with(fleet: Fleet) -> None:
    await fleet.beat(A)
    assert (await fleet.place(caller="192.0.2.1")).caller == "192.0.2.1"
    fleet.wait(1_000)
    assert (await fleet.place(caller="192.0.2.2")).caller == "192.0.2.1"
    owner = await fleet.registry.channel_owner("channel of issuer")
    assert owner is not None
    assert (owner.tenant, owner.address, owner.caller) == ("default", A, "192.0.2.1")


async def test_two_channel_keys_under_one_issuer_are_two_placements(fleet: Fleet) -> None:
    await fleet.beat(A)
    first = await fleet.place(channel_key_fingerprint="production", uuid="uuid 1")
    await fleet.beat(B)
    copy = await fleet.select(channel_key_fingerprint="copy", id="of the copy")
    assert (first.has_other_key, copy.has_other_key, copy.address, copy.uuid) == (False, True, B, "")
    await fleet.report(
        "created",
        B,
        channel_key_fingerprint="copy",
        id="of the copy",
        uuid="uuid 2",
        generation=copy.generation,
    )
    fleet.wait(1_000)
    for fingerprint, uuid, address in (("production", "uuid 1", A), ("copy", "uuid 2", B)):
        again = await fleet.select(channel_key_fingerprint=fingerprint, id=f"again {fingerprint}")
        assert (again.address, again.uuid, again.reason) == (address, uuid, "sticky")
    assert await fleet.registry.rescues.calls_of(B) == ["default:issuer#copy"]
