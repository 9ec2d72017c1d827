"""Redis' clock steps back: what ends by time ends as long after the step as it would have without it."""

from collections.abc import Awaitable, Callable

import pytest

from tests.lua.fleet import KEY, A, B, Fleet

STEP_MS = 3_600_000
THRESHOLD_MS = 30_000
OPEN_MS = 30_000

Reports = Callable[[Fleet], Awaitable[object]]


async def by_heartbeat(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=1, is_fresh=False)


async def by_sweeper(fleet: Fleet) -> None:
    await fleet.registry.sweeps.expire()


@pytest.fixture(params=[by_heartbeat, by_sweeper])
def notice(request: pytest.FixtureRequest) -> Reports:
    """Who is the first to notice the step: the SFU's next heartbeat, or the sweeper."""
    noticed: Reports = request.param
    return noticed


async def live(fleet: Fleet, ms: int) -> None:
    """Let time pass while A and B report."""
    for _ in range(ms // 10_000):
        fleet.wait(10_000)
        await fleet.beat(A, sessions=1, is_fresh=False)
        await fleet.beat(B, sessions=500, is_fresh=False)


async def test_an_ejection_ends(fleet: Fleet, notice: Reports) -> None:
    await fleet.beat(A, sessions=1)
    await fleet.beat(B, sessions=500)
    await fleet.fail(A, times=5)
    fleet.wait(-STEP_MS)
    await notice(fleet)
    await live(fleet, OPEN_MS - 10_000)
    assert await fleet.state(A) == "ejected"
    await live(fleet, 10_000)
    assert await fleet.state(A) == "half-open"
    assert (await fleet.select()).address == A


async def test_a_half_open_permit_ends_whose_owner_is_gone(fleet: Fleet, notice: Reports) -> None:
    await fleet.half_open(A)
    await fleet.select("gone")
    assert (await fleet.select("beside")).reason == "last-resort"
    fleet.wait(-STEP_MS)
    await notice(fleet)
    await fleet.beat(B, sessions=500)
    await live(fleet, 10_000)
    assert (await fleet.select("after")).address == A


async def test_a_drain_ends_its_calls_at_its_deadline(fleet: Fleet, notice: Reports) -> None:
    await fleet.beat(A, sessions=1)
    await fleet.beat(B, sessions=500)
    await fleet.registry.fleet.drain(A, deadline_ms=60_000)
    fleet.wait(-STEP_MS)
    await notice(fleet)
    await live(fleet, 50_000)
    assert await fleet.state(A) == "draining"
    assert (await fleet.registry.sweeps.finish_drains()).count == 0
    await live(fleet, 10_000)
    assert await fleet.state(A) == "drained"
    assert (await fleet.registry.sweeps.finish_drains()).count == 1


async def test_reservations_fade(fleet: Fleet, notice: Reports) -> None:
    await fleet.beat(A, sessions=1)
    await fleet.select()
    fleet.wait(-STEP_MS)
    await notice(fleet)
    await live(fleet, 60_000)
    assert await fleet.reserved(A) < 0.1


async def test_a_silent_sfu_is_down_after_its_threshold(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    fleet.wait(-STEP_MS)
    await fleet.beat(B)
    assert (await fleet.registry.sweeps.expire()).count == 0
    fleet.wait(THRESHOLD_MS - 1)
    await fleet.beat(B)
    assert (await fleet.registry.sweeps.expire()).count == 0
    fleet.wait(1)
    assert (await fleet.registry.sweeps.expire()).addresses == (A,)
    assert await fleet.events(A) == ["up registered", "down expired"]


async def test_a_whole_fleet_is_looked_at_a_few_at_a_time(fleet: Fleet) -> None:
    silent = [f"http://{number}.test:8070" for number in range(150)]
    for address in silent:
        await fleet.beat(address)
    fleet.wait(-STEP_MS)
    while (await fleet.registry.sweeps.expire()).has_more:
        pass
    deadlines = {await fleet.client.zscore(fleet.keys.deadlines, address) for address in silent}
    assert deadlines == {fleet.now_ms + THRESHOLD_MS}


async def test_losses_from_before_the_step_are_no_mass_loss_of_now(fleet: Fleet) -> None:
    for number in range(4):
        address = f"http://{number}.test:8070"
        await fleet.beat(address)
        await fleet.registry.registrations.sign_off(address, KEY, is_gone=True)
    fleet.wait(-STEP_MS)
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.registry.registrations.sign_off(A, KEY, is_gone=True)
    assert await fleet.state(A) == "lost"
