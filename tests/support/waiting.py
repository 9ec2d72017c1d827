"""Waiting for an outcome instead of sleeping: poll, with a deadline, and say what was last seen."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    predicate: Callable[[], Awaitable[T]], *, timeout_seconds: float = 5, interval_seconds: float = 0.02
) -> T: ...


@overload
async def eventually(
    predicate: Callable[[], T], *, timeout_seconds: float = 5, interval_seconds: float = 0.02
) -> T: ...


async def eventually(
    predicate: Callable[[], Any], *, timeout_seconds: float = 5, interval_seconds: float = 0.02
) -> Any:
    """Return the first truthy value of `predicate`, plain or awaitable, while the event loop goes on.

    An exception from `predicate` is not a "not yet": it propagates.

    Raises:
        AssertionError: no truthy value within `timeout_seconds`; the message shows the last one.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        outcome = predicate()
        value = await outcome if inspect.isawaitable(outcome) else outcome
        if value:
            return value
        if time.monotonic() >= deadline:
            _give_up(timeout_seconds, value)
        await asyncio.sleep(interval_seconds)


def eventually_sync(
    predicate: Callable[[], T], *, timeout_seconds: float = 5, interval_seconds: float = 0.02
) -> T:
    """Return the first truthy value of `predicate`, blocking the thread: `eventually` for plain code.

    Raises:
        AssertionError: no truthy value within `timeout_seconds`; the message shows the last one.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            _give_up(timeout_seconds, value)
        time.sleep(interval_seconds)


def _give_up(timeout_seconds: float, last: Any) -> NoReturn:
    raise AssertionError(f"not within {timeout_seconds:g} s; last seen: {last!r}")
