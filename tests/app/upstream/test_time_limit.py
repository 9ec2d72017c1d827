"""Time limits: what is awaited ends in time, and other cancellations stay what they are."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from app.timers import Timers
from app.upstream.time_limit import TimeLimit
from tests.support.pools import Runner, on_each_loop


async def limited(timeout_s: float, awaited: Coroutine[Any, Any, None]) -> None:
    """Await it for so long."""
    with TimeLimit(Timers(), asyncio.get_running_loop().time() + timeout_s):
        await awaited


async def forever() -> None:
    """Wait for nothing."""
    await asyncio.get_running_loop().create_future()


async def late() -> None:
    """What takes too long ends with `TimeoutError`, and its task goes on."""
    for timeout_s in (0.01, 0, -1):
        with pytest.raises(TimeoutError) as caught:
            await limited(timeout_s, forever())
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0.01)


async def in_time() -> None:
    """What ends in time is not cancelled later, also when it ends in the moment in which the time is over."""
    timers, loop = Timers(), asyncio.get_running_loop()
    for timeout_s in (60, 0.01):
        done, at = loop.create_future(), loop.time() + 0.01
        loop.call_at(at, done.set_result, None)
        with TimeLimit(timers, at - 0.01 + timeout_s):
            await done
        await asyncio.sleep(0.01)


async def failed() -> None:
    """An error of the body stays as it is."""

    async def fail() -> None:
        raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError):
        await limited(1, fail())


async def cancelled() -> None:
    """Who cancels the task is not told of a time limit, also when both come at one time."""
    task = asyncio.create_task(limited(60, forever()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    both = asyncio.create_task(limited(0, forever_and_cancel(lambda: both.cancel())))
    with pytest.raises(asyncio.CancelledError):
        await both


async def forever_and_cancel(cancel: Callable[[], object]) -> None:
    """Cancel when the time is over."""
    try:
        await forever()
    except asyncio.CancelledError:
        cancel()
        raise


async def nested() -> None:
    """Of two limits the one that ends first is told."""
    timers, reached = Timers(), []

    async def limited_longer() -> None:
        try:
            with TimeLimit(timers, asyncio.get_running_loop().time() + 60):
                await forever()
        except TimeoutError:
            reached.append("inner")

    with pytest.raises(TimeoutError):
        await limited(0.01, limited_longer())
    assert reached == []


@on_each_loop
@pytest.mark.parametrize("check", [late, in_time, failed, cancelled, nested])
def test_a_time_limit_does_what_asyncio_s_does(
    run: Runner, check: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    run(check())
