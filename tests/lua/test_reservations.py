"""What select, heartbeat, report and reap make of a reservation, from its birth to its end.

w = 4 sessions per channel, J = 15 s: a channel of age t still expects 4 e^(-t/J) people.
"""

from math import exp

import pytest

from app.registry.placements import Outcome
from tests.lua.fleet import KEY, A, B, Fleet

W, J = 4, 15_000


async def test_a_placement_counts_at_once(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=10)
    await fleet.select()
    status = await fleet.registry.fleet.describe(A)
    assert status.reserved == W
    assert status.load == pytest.approx(0.5 * (10 + W) / 1_000)


FULLY_USED = 0.5
"""What CPU and memory weigh where both are used up."""


@pytest.mark.parametrize(
    ("sessions", "cpu", "memory", "weight"),
    [
        pytest.param(0, 0, 0, FULLY_USED, id="empty: as if a full SFU used all"),
        pytest.param(200, 0.16, 0.08, FULLY_USED, id="never less"),
        pytest.param(200, 0.6, 0.3, FULLY_USED + 0.14 / 0.3, id="more where its sessions cost more"),
        pytest.param(1, 0.05, 0.3, FULLY_USED + 0.0745 / 0.101, id="idling does not count for much"),
    ],
)
async def test_promised_sessions_are_compared_with_the_cpu_and_memory_they_will_take(
    fleet: Fleet, sessions: int, cpu: float, memory: float, weight: float
) -> None:
    await fleet.beat(A, sessions=sessions, cpu=cpu, memory=memory)
    await fleet.select()
    status = await fleet.registry.fleet.describe(A)
    assert status.load == pytest.approx(0.5 * (sessions + W) / 1_000 + 0.3 * cpu + 0.2 * memory)
    assert status.effective_load == pytest.approx(status.load + weight * W / 1_000)
    assert await fleet.client.zscore(fleet.keys.load(), A) == pytest.approx(status.effective_load)


async def test_a_promise_weighs_no_less_than_the_people_it_becomes(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=40, cpu=0.04, memory=0.02)
    await fleet.beat(B, sessions=40 + W, cpu=0.04 + 0.004, memory=0.02 + 0.002)
    await fleet.place("one")
    await fleet.place("two")
    assert (await fleet.reserved(A), await fleet.reserved(B)) == (W, W)


async def test_the_cpu_and_memory_of_promised_sessions_turn_nobody_away(fleet: Fleet) -> None:
    await fleet.beat(A, max_sessions=100, sessions=20, cpu=0.94, memory=0.3)
    for number in range(19):
        await fleet.place(f"{number}")
    status = await fleet.registry.fleet.describe(A)
    assert status.load < fleet.policy.max_load < status.effective_load
    assert status.state == "selectable"


async def test_a_heartbeat_right_after_a_burst_does_not_wipe_it(fleet: Fleet) -> None:
    await fleet.beat()
    for number in range(3):
        await fleet.place(f"{number}")
    await fleet.beat()
    assert await fleet.reserved() == 3 * W


async def test_reservations_fade_with_the_join_time_from_heartbeat_to_heartbeat(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.place("one")
    fleet.wait(5_000)
    assert await fleet.reserved() == W
    await fleet.place("two")
    fleet.wait(10_000)
    await fleet.beat()
    assert await fleet.reserved() == pytest.approx(W * (exp(-15_000 / J) + exp(-10_000 / J)))
    await fleet.place("three")
    assert await fleet.reserved() == pytest.approx(W * (exp(-15_000 / J) + exp(-10_000 / J) + 1))


async def test_reservations_end_at_zero(fleet: Fleet) -> None:
    await fleet.beat()
    for number in range(10):
        await fleet.place(f"{number}")
    for _ in range(20):
        fleet.wait(10_000)
        await fleet.beat()
    assert 0 <= await fleet.reserved() < 0.001


@pytest.mark.parametrize("outcome", ["failed", "unblamed", "misconfigured"])
async def test_a_channel_that_was_not_created_gives_back(fleet: Fleet, outcome: Outcome) -> None:
    await fleet.beat(A)
    await fleet.select()
    await fleet.report(outcome)
    assert await fleet.reserved() == 0
    await fleet.beat()
    assert await fleet.reserved() == 0


async def test_what_others_reserved_stays(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.select("one")
    fleet.wait(5_000)
    await fleet.select("two", lock_ms=20_000)
    fleet.wait(5_000)
    await fleet.beat()
    await fleet.report("unblamed", issuer="two")
    assert await fleet.reserved() == pytest.approx(W * exp(-10_000 / J))
    fleet.wait(5_000)
    await fleet.beat()
    assert await fleet.reserved() == pytest.approx(W * exp(-15_000 / J))


async def test_it_is_given_back_once(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.select("one")
    await fleet.select("two")
    for _ in range(3):
        await fleet.report("unblamed", issuer="one")
    assert await fleet.reserved() == W


async def test_a_heartbeat_of_the_same_millisecond_makes_no_difference(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.select()
    await fleet.beat()
    await fleet.report("unblamed")
    assert await fleet.reserved() == 0


async def test_a_created_channel_keeps_its_reservation(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.place()
    await fleet.fail(A)
    assert await fleet.reserved() == W


async def test_a_channel_that_is_there_reserves_nothing_again(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.place()
    fleet.wait(1_000)
    await fleet.place()
    await fleet.select(id="third")
    assert await fleet.reserved() == W


async def test_each_attempt_has_a_reservation_of_its_own(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B, sessions=100)
    await fleet.select()
    assert (await fleet.select(attempt=2, exclude=(A,))).address == B
    assert (await fleet.reserved(A), await fleet.reserved(B)) == (W, W)
    await fleet.report("created", B, attempt=2, id="request 1 of issuer")
    assert (await fleet.reserved(A), await fleet.reserved(B)) == (W, W)
    await fleet.report("unblamed", A, attempt=1, id="request 1 of issuer")
    assert (await fleet.reserved(A), await fleet.reserved(B)) == (0, W)


async def test_an_attempt_that_never_reports_is_reaped_beside_one_that_won(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B, sessions=100)
    await fleet.select()
    await fleet.select(attempt=2, exclude=(A,))
    await fleet.report("created", B, attempt=2)
    fleet.wait(2_500)
    await fleet.registry.sweeps.reap()
    assert (await fleet.reserved(A), await fleet.reserved(B)) == (0, W)
    assert (await fleet.select(id="next")).address == B


async def test_a_reservation_of_a_former_life_is_not_taken_from_the_next(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.select("former")
    fleet.wait(1)
    await fleet.registry.registrations.sign_off(A, KEY)
    await fleet.beat()
    await fleet.select("present")
    await fleet.report("unblamed", issuer="former")
    await fleet.beat()
    assert await fleet.reserved() == W


async def test_a_dead_holders_reservation_is_reaped(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.select("dead", lock_ms=2_500)
    await fleet.place("alive")
    fleet.wait(2_500)
    await fleet.registry.sweeps.reap()
    assert await fleet.reserved() == pytest.approx(W)
