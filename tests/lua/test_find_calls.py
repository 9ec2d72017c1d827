"""find_calls.lua and settle_calls.lua: which calls an event concerns, and what became of them."""

import pytest
from redis.asyncio import Redis

from app.registry.losses import Loss
from app.rescue.announcer import loss_of
from tests.lua.fleet import KEY, A, B, Fleet
from tests.support.calls import call_id

CALL = "default:issuer"


async def last_loss(fleet: Fleet) -> Loss:
    """What the newest event means for calls."""
    [(stream_id, fields)] = await fleet.registry.outbox.newest_events(1)
    loss = loss_of(stream_id, fields)
    assert loss is not None, fields
    return loss


async def found(fleet: Fleet, loss: Loss, *names: str) -> list[str]:
    """The uuids of the calls that the loss concerns."""
    calls = await fleet.registry.rescues.find_calls(loss, names or (CALL,))
    assert calls is not None
    return [call.uuid for call in calls]


async def place_elsewhere(fleet: Fleet) -> None:
    """Both SFUs live, the call is on the first."""
    await fleet.beat(A)
    await fleet.place(uuid="first")
    await fleet.beat(B, sessions=1)


async def test_a_call_of_an_sfu_that_signed_off_is_lost(fleet: Fleet) -> None:
    await place_elsewhere(fleet)
    await fleet.registry.registrations.sign_off(A, KEY)
    loss = await last_loss(fleet)
    assert (loss.reason, loss.lives, loss.may_be_mass) == ("down", False, False)
    assert await fleet.registry.rescues.calls_of(A) == [CALL]
    assert await found(fleet, loss) == ["first"]


async def test_a_call_that_has_moved_is_not_lost(fleet: Fleet) -> None:
    await place_elsewhere(fleet)
    await fleet.registry.registrations.sign_off(A, KEY)
    assert (await fleet.place(uuid="second")).address == B
    assert await found(fleet, await last_loss(fleet)) == []


async def test_a_restart_in_place_loses_the_calls_before_it_alone(fleet: Fleet) -> None:
    await fleet.beat(A, instance="one")
    await fleet.place(uuid="first")
    await fleet.place("later", uuid="of later")
    await fleet.beat(A, instance="two")
    loss = await last_loss(fleet)
    await fleet.place("later", uuid="again")
    assert loss.reason == "restarted"
    assert await found(fleet, loss, CALL, "default:later") == ["first"]


async def test_a_call_that_was_answered_is_never_found_again(fleet: Fleet) -> None:
    await place_elsewhere(fleet)
    await fleet.registry.registrations.sign_off(A, KEY)
    await fleet.registry.rescues.settle_calls(await last_loss(fleet), {CALL: "p2p"})
    assert await fleet.registry.rescues.calls_of(A) == []
    assert await fleet.registry.rescues.totals() == {
        "moved": 0,
        "kept": 0,
        "p2p": 1,
        "failed": 0,
        "ms": 0,
    } | {"ms": (await fleet.registry.rescues.totals())["ms"]}


async def test_a_call_that_odoo_did_not_move_is_noted_with_its_time(fleet: Fleet) -> None:
    await place_elsewhere(fleet)
    await fleet.registry.registrations.sign_off(A, KEY)
    await fleet.registry.rescues.settle_calls(await last_loss(fleet), {CALL: "failed"})
    noted = await fleet.client.hmget(fleet.keys.fleet, ["rescue_failed", "rescue_failed_at"])
    assert noted == ["1", str(fleet.now_ms)]


async def test_a_call_that_is_being_moved_is_placed_elsewhere_though_its_sfu_lives(fleet: Fleet) -> None:
    await place_elsewhere(fleet)
    await fleet.registry.fleet.drain(A, move=True)
    assert (await fleet.select()).address == A  # sticky, until its turn comes
    await fleet.report("unblamed", A)
    loss = await last_loss(fleet)
    assert loss.reason == "drain"
    await fleet.registry.rescues.find_calls(loss, [CALL], moving_ms=60_000)
    assert (await fleet.place(uuid="second")).address == B
    assert (await fleet.select()).address == B
    assert await fleet.registry.rescues.calls_of(A) == []


@pytest.mark.parametrize("others", [0, 1])
async def test_a_call_stays_where_it_is_when_no_other_sfu_takes_it(fleet: Fleet, others: int) -> None:
    await fleet.beat(A)
    await fleet.place(uuid="first")
    if others:
        await fleet.beat(B, cpu=1.0)
    await fleet.registry.fleet.drain(A, move=True)
    await fleet.registry.rescues.find_calls(await last_loss(fleet), [CALL], moving_ms=60_000)
    placement = await fleet.select()
    assert (placement.address, placement.reason, placement.uuid) == (A, "sticky", "first")


async def test_a_call_that_was_kept_in_a_drain_stays_and_can_still_be_lost(fleet: Fleet) -> None:
    await place_elsewhere(fleet)
    await fleet.registry.fleet.drain(A, move=True)
    loss = await last_loss(fleet)
    await fleet.registry.rescues.find_calls(loss, [CALL], moving_ms=60_000)
    await fleet.registry.rescues.settle_calls(loss, {CALL: "kept"})
    assert await found(fleet, loss) == []
    assert (await fleet.select()).address == A
    await fleet.report("unblamed", A)
    status = await fleet.registry.fleet.describe(A)
    assert (status.moves, status.moves_left, status.kept) == (1, 0, 1)
    await fleet.registry.registrations.sign_off(A, KEY)
    assert await found(fleet, await last_loss(fleet)) == ["first"]


async def test_a_move_that_nobody_ended_ends_by_time(fleet: Fleet) -> None:
    await place_elsewhere(fleet)
    await fleet.registry.fleet.drain(A, move=True)
    await fleet.registry.rescues.find_calls(await last_loss(fleet), [CALL], moving_ms=1_000)
    fleet.wait(1_000)
    assert (await fleet.select()).address == A


async def test_explain_says_where_a_call_that_is_being_moved_goes(fleet: Fleet) -> None:
    from app.registry.placements import PlacementRequest

    await place_elsewhere(fleet)
    await fleet.registry.fleet.drain(A, move=True)
    await fleet.registry.rescues.find_calls(await last_loss(fleet), [CALL], moving_ms=60_000)
    candidates = (await fleet.registry.fleet.explain(PlacementRequest("x", call_id()))).candidates
    assert [each.sfu.address for each in candidates if each.verdict == "chosen"] == [B]


async def test_no_call_is_found_while_most_of_the_fleet_is_gone(fleet: Fleet, redis: Redis) -> None:
    addresses = [f"http://{number}.test" for number in range(6)]
    for address in addresses:
        await fleet.beat(address)
    await fleet.place()
    fleet.wait(25_000)
    for address in addresses[:2]:
        await fleet.beat(address)
    fleet.wait(5_000)
    while (await fleet.registry.sweeps.expire()).expiry_suspended_until:
        fleet.wait(30_000)
        for address in addresses[:2]:
            await fleet.beat(address)
    loss = await last_loss(fleet)
    assert loss.may_be_mass
    assert await fleet.registry.rescues.find_calls(loss, [CALL]) is None
    fleet.wait(60_001)
    for address in addresses[:2]:
        await fleet.beat(address)
    assert await fleet.registry.rescues.find_calls(loss, [CALL]) is not None
