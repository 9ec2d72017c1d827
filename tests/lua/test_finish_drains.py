"""finish_drains.lua: a drain deadline has passed."""

from tests.lua.fleet import KEY, A, B, Fleet

MINUTE_MS = 60_000


async def overdue(fleet: Fleet) -> None:
    """A drains with a call on it, its deadline has just passed."""
    await fleet.beat(A, sessions=1)
    await fleet.registry.fleet.drain(A, deadline_ms=MINUTE_MS)
    for _ in range(3):
        fleet.wait(MINUTE_MS // 3)
        await fleet.beat(A, sessions=1)


async def test_it_is_said_at_the_deadline_and_once(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=1)
    await fleet.registry.fleet.drain(A, deadline_ms=10_000)
    fleet.wait(9_999)
    assert (await fleet.registry.sweeps.finish_drains()).count == 0
    fleet.wait(1)
    assert [(await fleet.registry.sweeps.finish_drains()).count for _ in range(3)] == [1, 0, 0]
    await fleet.beat(A)
    assert await fleet.events() == ["up registered", "draining operator", "drained deadline"]


async def test_an_sfu_that_was_empty_before_has_said_so(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.registry.fleet.drain(A, deadline_ms=10_000)
    await fleet.beat()
    fleet.wait(10_000)
    await fleet.registry.sweeps.finish_drains()
    assert await fleet.events() == ["up registered", "draining operator", "drained empty"]


async def test_a_drain_without_a_deadline_never_ends_by_time(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=1)
    await fleet.registry.fleet.drain(A)
    fleet.wait(29_999)
    assert (await fleet.registry.sweeps.finish_drains()).count == 0


async def test_sfus_that_are_gone_or_do_not_drain_say_nothing(fleet: Fleet) -> None:
    await overdue(fleet)
    await fleet.beat(B)
    await fleet.registry.fleet.drain(B, deadline_ms=1)
    await fleet.registry.fleet.resume(B)
    await fleet.registry.registrations.sign_off(A, KEY)
    assert (await fleet.registry.sweeps.finish_drains()).count == 0


async def test_a_silent_sfu_that_goes_on_does_not_say_it_again(fleet: Fleet) -> None:
    await overdue(fleet)
    await fleet.registry.sweeps.finish_drains()
    fleet.wait(MINUTE_MS)
    await fleet.beat(A, sessions=1)
    assert (await fleet.registry.sweeps.finish_drains()).count == 0
    assert (await fleet.events()).count("drained deadline") == 1


async def test_a_drained_sfu_keeps_no_call(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=1)
    await fleet.place()
    await fleet.registry.fleet.drain(A, deadline_ms=10_000)
    await fleet.beat(B)
    fleet.wait(10_000)
    assert await fleet.state(A) == "drained"
    assert (await fleet.select(id="next")).address == B


async def test_thousands_of_old_drains_cost_nothing(fleet: Fleet) -> None:
    for number in range(60):
        await fleet.beat(f"http://{number}.test", sessions=1)
        await fleet.registry.fleet.drain(f"http://{number}.test", deadline_ms=10_000)
    fleet.wait(10_000)
    sweeps = [await fleet.registry.sweeps.finish_drains() for _ in range(4)]
    assert [(sweep.count, sweep.has_more) for sweep in sweeps] == [
        (25, True),
        (25, True),
        (10, False),
        (0, False),
    ]
    assert await fleet.client.exists(fleet.keys.drains) == 0
