"""Timers that share one timer of the event loop."""

import asyncio
from functools import partial

from app.timers import Timers

SOON_S = 0.02


async def rung(*, cancelled: tuple[int, ...] = (), order: tuple[int, ...] = (1, 2, 3)) -> list[int]:
    """Set three timers in some `order`, cancel some of them, and return which rang, in that order."""
    timers, loop, rang = Timers(), asyncio.get_running_loop(), list[int]()
    begun = loop.time()
    made = {number: timers.call_at(begun + number * SOON_S, partial(rang.append, number)) for number in order}
    for number in cancelled:
        made[number].cancel()
    await asyncio.sleep(5 * SOON_S)
    return rang


async def test_timers_ring_by_their_times_in_whatever_order_they_are_set() -> None:
    assert await rung(order=(1, 2, 3)) == [1, 2, 3]
    assert await rung(order=(3, 1, 2)) == [1, 2, 3]


async def test_a_cancelled_timer_is_silent_and_the_others_ring() -> None:
    assert await rung(cancelled=(1,)) == [2, 3]
    assert await rung(cancelled=(2,)) == [1, 3]
    assert await rung(cancelled=(1, 2, 3)) == []


async def test_a_timer_that_is_cancelled_by_one_of_the_same_moment_is_silent() -> None:
    timers, loop, rang = Timers(), asyncio.get_running_loop(), list[int]()
    timers.call_at(loop.time(), lambda: second.cancel())
    second = timers.call_at(loop.time(), lambda: rang.append(2))
    await asyncio.sleep(SOON_S)
    assert rang == []


async def test_a_timer_rings_at_its_time_and_not_before() -> None:
    loop, rang_at = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
    due = loop.time() + SOON_S
    Timers().call_at(due, lambda: rang_at.set_result(loop.time()))
    assert -0.002 < await rang_at - due < 1


async def test_a_timer_may_set_the_next_one() -> None:
    timers, loop, done = Timers(), asyncio.get_running_loop(), asyncio.Event()
    timers.call_at(loop.time() + SOON_S, lambda: timers.call_at(loop.time() + SOON_S, done.set))
    await asyncio.wait_for(done.wait(), 5)


async def test_an_error_of_one_timer_leaves_the_others_alone() -> None:
    timers, loop, done, heard = Timers(), asyncio.get_running_loop(), asyncio.Event(), list[object]()
    loop.set_exception_handler(lambda _, context: heard.append(context["exception"]))
    timers.call_at(loop.time(), lambda: [][0])
    timers.call_at(loop.time(), done.set)
    await asyncio.wait_for(done.wait(), 5)
    assert isinstance(heard[0], IndexError)
