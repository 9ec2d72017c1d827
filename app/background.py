"""Work in the background for as long as a block runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

_AGAIN_AFTER_S: Final = 0.1


@asynccontextmanager
async def in_background(
    work: Coroutine[Any, Any, None], on_end: Callable[[], object] | None = None
) -> AsyncIterator[None]:
    """Run `work` as a task. Leaving the block cancels it, waits for it, and raises its exception.

    `on_end` is called when the work ends, so that a process does not go on without it.

    Before Python 3.12 `asyncio.wait_for`, which redis-py uses, may swallow a cancellation that comes together
    with a result (python/cpython#86296), so the cancellation is repeated until the task has ended.
    """
    task = asyncio.create_task(work)
    if on_end is not None:
        task.add_done_callback(lambda _: on_end())
    try:
        yield
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=_AGAIN_AFTER_S)
        with contextlib.suppress(asyncio.CancelledError):
            task.result()


async def repeated(
    work: Callable[[], Awaitable[object]], pause_s: Callable[[], float], excused: type[Exception]
) -> None:
    """Do `work` again and again, with pauses. An `excused` error ends one time of it; others say so."""
    while True:
        with contextlib.suppress(excused):
            await work()
        await asyncio.sleep(pause_s())


async def cancel_all(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel `tasks` and wait until they have ended. Repeats cancellations, as `in_background`."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN_AFTER_S)
