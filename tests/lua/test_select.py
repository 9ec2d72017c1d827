"""select.lua: which SFU a new channel gets, and why there is none."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from app.errors import NoSfuAvailable, Overloaded
from tests.lua.fleet import KEY, A, B, C, D, Fleet


async def test_the_lowest_load_wins(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=500, cpu=0.1)
    await fleet.beat(B, sessions=100, cpu=0.1, region="us", public_url="https://b.example")
    await fleet.beat(C, sessions=100, cpu=0.9)
    chosen = await fleet.select()
    assert (chosen.address, chosen.region, chosen.reason) == (B, "us", "least-load")
    assert (chosen.public_url, chosen.is_locked, chosen.uuid) == ("https://b.example", True, "")
    assert fleet.registry.open_key(chosen) == KEY


@pytest.mark.parametrize("more", [{"sessions": 100}, {"cpu": 0.1}, {"memory": 0.1}, {"max_sessions": 500}])
async def test_each_term_counts(fleet: Fleet, more: dict[str, Any]) -> None:
    await fleet.beat(A, **{"sessions": 50} | more)
    await fleet.beat(B, sessions=50)
    assert (await fleet.select()).address == B


async def test_the_weights_are_the_operators(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(weight_sessions=0, weight_cpu=0, weight_memory=1)
    await fleet.beat(A, sessions=500, cpu=0.5)
    await fleet.beat(B, memory=0.01)
    assert (await fleet.select()).address == A


async def test_simultaneous_channels_spread_evenly(fleet: Fleet) -> None:
    for address in (A, B, C, D):
        await fleet.beat(address)
    chosen = Counter([(await fleet.select(f"{number}")).address for number in range(20)])
    assert chosen == {A: 5, B: 5, C: 5, D: 5}


async def test_an_empty_registry_has_no_sfu(fleet: Fleet) -> None:
    with pytest.raises(NoSfuAvailable):
        await fleet.select()


async def test_an_expired_sfu_is_never_selected(fleet: Fleet) -> None:
    await fleet.beat()
    fleet.wait(29_999)
    assert (await fleet.select("in time")).address == A
    fleet.wait(1)
    with pytest.raises(NoSfuAvailable):
        await fleet.select("late")


async def test_an_sfu_whose_hash_is_gone_is_never_selected(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat()
    await redis.delete(fleet.keys.node(A))
    with pytest.raises(NoSfuAvailable):
        await fleet.select()


async def test_an_sfu_that_signed_off_is_never_selected(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.registry.registrations.sign_off(A, KEY)
    with pytest.raises(NoSfuAvailable):
        await fleet.select()


async def test_a_draining_sfu_takes_no_new_channel(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.registry.fleet.drain(A)
    with pytest.raises(NoSfuAvailable):
        await fleet.select()


@pytest.mark.parametrize("failures", [1, 5])
async def test_a_failed_sfu_takes_no_new_channel(fleet: Fleet, failures: int) -> None:
    await fleet.beat(A)
    await fleet.beat(B, sessions=500)
    await fleet.fail(A, times=failures)
    assert (await fleet.select()).address == B


@pytest.mark.parametrize(
    "figures",
    [
        {"sessions": 1_000},
        {"cpu": 0.96},
        {"memory": 0.96},
        {"sessions": 999, "cpu": 0.9, "memory": 0.9},
    ],
)
async def test_an_overloaded_sfu_takes_no_new_channel(fleet: Fleet, figures: dict[str, Any]) -> None:
    await fleet.beat(A, **figures)
    with pytest.raises(Overloaded):
        await fleet.select()
    await fleet.beat(A)
    assert (await fleet.select()).address == A


async def test_reservations_fill_an_sfu(fleet: Fleet) -> None:
    await fleet.beat(A, max_sessions=8)
    await fleet.select("first")
    await fleet.select("second")
    with pytest.raises(Overloaded):
        await fleet.select("third")
    await fleet.report("failed", issuer="second")
    await fleet.beat(A, max_sessions=8)
    assert (await fleet.select("third")).address == A


async def test_out_by_load_differs_from_not_there(fleet: Fleet) -> None:
    await fleet.beat(A, cpu=1.0, region="eu")
    await fleet.beat(B, region="us")
    await fleet.registry.fleet.drain(B)
    with pytest.raises(Overloaded):
        await fleet.select(groups=(("eu",),))
    with pytest.raises(NoSfuAvailable):
        await fleet.select(groups=(("us",),))
    with pytest.raises(Overloaded):
        await fleet.select(groups=(("us",), ("*",)))


async def test_an_sfu_that_was_overloaded_once_is_not_for_ever(fleet: Fleet) -> None:
    await fleet.beat(A, cpu=1.0)
    await fleet.beat(A)
    with pytest.raises(NoSfuAvailable):
        await fleet.select(exclude=(A,))


async def test_an_excluded_sfu_is_never_selected(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B, sessions=100)
    assert (await fleet.select("one", exclude=(A,))).address == B
    with pytest.raises(NoSfuAvailable):
        await fleet.select("two", exclude=(A, B))


# Ties and choices


async def drawn(fleet: Fleet, **request: Any) -> set[str]:
    """Which SFUs a new channel may get, by the draws from 0 to 31/32; nothing is left reserved."""
    addresses = set()
    for number in range(32):
        fleet.draw = number / 32
        chosen = await fleet.select(**request)
        await fleet.report("unblamed", chosen.address)
        addresses.add(chosen.address)
    return addresses


async def test_each_of_tied_sfus_may_be_drawn(fleet: Fleet) -> None:
    for address in (A, B, C):
        await fleet.beat(address, sessions=1)
    await fleet.beat(D, sessions=2)
    assert await drawn(fleet) == {A, B, C}


async def test_each_of_tied_sfus_may_be_drawn_in_a_group_of_regions(fleet: Fleet) -> None:
    for address, region in ((A, "eu"), (B, "eu"), (C, "us"), (D, "us")):
        await fleet.beat(address, region=region)
    assert await drawn(fleet, groups=(("eu", "us"),)) == {A, B, C, D}


async def test_an_excluded_sfu_wins_no_tie(fleet: Fleet) -> None:
    for address in (A, B, C):
        await fleet.beat(address)
    assert await drawn(fleet, exclude=(B,)) == {A, C}


async def test_an_expired_sfu_wins_no_tie(fleet: Fleet) -> None:
    await fleet.beat(B)
    fleet.wait(20_000)
    await fleet.beat(A)
    await fleet.beat(C)
    fleet.wait(10_000)
    assert await drawn(fleet) == {A, C}


async def test_choices_pick_evenly_among_the_lowest(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(choices=2)
    for sessions, address in enumerate((A, B, C, D)):
        await fleet.beat(address, sessions=sessions)
    assert await drawn(fleet) == {A, B}
    assert await drawn(fleet, exclude=(A,)) == {B, C}
    fleet.draw = 0.49
    assert (await fleet.select("lower half")).address == A
    await fleet.report("unblamed", A, issuer="lower half")
    fleet.draw = 0.5
    assert (await fleet.select("upper half")).address == B


async def test_choices_span_the_regions_of_a_group(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(choices=3)
    for sessions, address in enumerate((A, B, C, D)):
        await fleet.beat(address, sessions=sessions, region=("eu", "us")[sessions % 2])
    assert await drawn(fleet, groups=(("eu", "us"),)) == {A, B, C}


async def test_round_robin_favours_none(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(strategy="round-robin")
    for sessions, address in ((0, A), (500, B), (900, C)):
        await fleet.beat(address, sessions=sessions)
    first = [await fleet.select(f"{number}") for number in range(3)]
    again = [await fleet.select(f"{number + 3}") for number in range(3)]
    assert {chosen.reason for chosen in first} == {"round-robin"}
    assert [chosen.address for chosen in first] == [chosen.address for chosen in again]
    assert {chosen.address for chosen in first} == {A, B, C}


async def test_round_robin_keeps_its_turn_over_heartbeats(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(strategy="round-robin")
    chosen: Counter[str] = Counter()
    for number in range(12):
        for address in (A, B, C):
            await fleet.beat(address)
        chosen[(await fleet.select(f"{number}")).address] += 1
    assert chosen == {A: 4, B: 4, C: 4}


async def test_round_robin_passes_over_a_full_sfu(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(strategy="round-robin")
    await fleet.beat(A, sessions=1_000)
    await fleet.beat(B)
    assert {(await fleet.select(f"{number}")).address for number in range(4)} == {B}


# Regions


async def test_the_first_group_with_a_selectable_sfu_wins(fleet: Fleet) -> None:
    await fleet.beat(A, region="eu", sessions=500)
    await fleet.beat(B, region="us")
    near = await fleet.select("near", groups=(("eu",), ("*",)))
    assert (near.address, near.reason) == (A, "least-load")
    await fleet.beat(A, region="eu", sessions=1_000)
    far = await fleet.select("far", groups=(("eu",), ("*",)))
    assert (far.address, far.reason) == (B, "fallback")


async def test_a_group_is_one_pool(fleet: Fleet) -> None:
    await fleet.beat(A, region="eu", sessions=2)
    await fleet.beat(B, region="us", sessions=1)
    await fleet.beat(C, region="asia")
    for draw in (0.0, 0.6):
        fleet.draw = draw
        assert (await fleet.select(f"{draw}", groups=(("eu", "us"),), exclude=(C,))).address == B
        await fleet.report("unblamed", B, issuer=f"{draw}")


async def test_a_group_is_a_limit(fleet: Fleet) -> None:
    await fleet.beat(A, region="us")
    with pytest.raises(NoSfuAvailable):
        await fleet.select(groups=(("eu",), ("asia",)))


# Stale entries


async def test_stale_entries_are_taken_out_on_sight(fleet: Fleet) -> None:
    await fleet.beat(A)
    fleet.wait(30_000)
    await fleet.beat(B, sessions=1)
    assert (await fleet.select(groups=(("eu",),))).address == B
    assert await fleet.listed("eu") == {B}


async def test_an_entry_that_no_longer_qualifies_is_taken_out_on_sight(
    fleet: Fleet, make_fleet: Callable[..., Fleet]
) -> None:
    await fleet.beat(A, cpu=0.5)
    await fleet.beat(B, sessions=900)
    stricter = make_fleet(max_cpu=0.4)
    assert (await stricter.select()).address == B
    assert await fleet.listed() == await fleet.listed("eu") == {B}


async def test_any_number_of_stale_entries_only_delays(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat(A, sessions=500)
    await redis.zadd(fleet.keys.load(), {f"http://gone-{number}.test": 0 for number in range(600)})
    assert (await fleet.select()).address == A
    assert await fleet.listed() == {A}


# Names that contain each other


async def test_an_address_that_begins_like_one_that_was_tried_may_be_selected(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(f"{A}1", sessions=100)
    await fleet.beat(f"{A}2", sessions=200)
    assert (await fleet.select("one", exclude=(A,))).address == f"{A}1"
    assert (await fleet.select("two", exclude=(f"{A}1", f"{A}2"))).address == A


async def test_a_region_that_begins_like_another_is_another(fleet: Fleet) -> None:
    await fleet.beat(A, region="eu")
    await fleet.beat(B, region="eu-west", sessions=100)
    groups = (("eu-west", "eu-north"), ("eu",))
    assert (await fleet.select("one", groups=groups)).address == B
    fallback = await fleet.select("two", groups=groups, exclude=(B,))
    assert (fallback.address, fallback.reason) == (A, "fallback")


async def test_a_request_that_may_go_nowhere_goes_nowhere(fleet: Fleet) -> None:
    await fleet.beat()
    for groups in ((), ((),), ((), ("us",))):
        with pytest.raises(NoSfuAvailable):
            await fleet.select(groups=groups)


# The SFU that the replica would choose without Redis


async def test_a_new_channel_goes_where_the_replica_would_place_it_without_redis(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B, sessions=500)
    assert (await fleet.select(preferred=B)).address == B
    assert await fleet.reserved(B) == 4


@pytest.mark.parametrize("figures", [{"sessions": 1_000}, {"cpu": 1.0}, {"is_draining": True}])
async def test_a_preferred_sfu_that_takes_no_new_channel_is_passed_over(
    fleet: Fleet, figures: dict[str, Any]
) -> None:
    await fleet.beat(A)
    await fleet.beat(B, **figures)
    assert (await fleet.select(preferred=B)).address == A


async def test_a_preferred_sfu_that_was_tried_has_failed_or_is_unknown_is_passed_over(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    assert (await fleet.select("tried", preferred=B, exclude=(B,))).address == A
    assert (await fleet.select("unknown", preferred=C)).address in (A, B)
    await fleet.fail(B)
    assert (await fleet.select("failed", preferred=B)).address == A


async def test_a_preferred_sfu_of_a_region_where_the_request_may_not_go_is_passed_over(fleet: Fleet) -> None:
    await fleet.beat(A, region="eu", sessions=500)
    await fleet.beat(B, region="us")  # it was in "eu" when the replica read the fleet
    assert (await fleet.select("one", preferred=B, groups=(("eu", "eu-west"),))).address == A
    with pytest.raises(NoSfuAvailable):
        await fleet.select("two", preferred=B, groups=(("asia",),))
    fallback = await fleet.select("three", preferred=B, groups=(("eu",), ("asia", "us")))
    assert (fallback.address, fallback.reason) == (B, "fallback")
    assert (await fleet.select("four", preferred=B, groups=(("*",),))).reason == "least-load"


async def test_an_issuer_stays_whatever_its_replica_prefers(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.place()
    await fleet.beat(B)
    assert (await fleet.select(preferred=B)).address == A
