"""Work in the background for as long as a block runs."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

log = logging.getLogger(__name__)

_AGAIN_AFTER_S: Final = 0.1


@asynccontextmanager
async def in_background(
    work: Coroutine[Any, Any, None], on_end: Callable[[], object] | None = None
) -> AsyncIterator[None]:
    """Run `work` as a task. Leaving the block cancels it, waits for it, and raises its exception.

    An exception is logged when it ends the work.

    `on_end` is called when the work ends, so that a process does not go on without it.

    Before Python 3.12 `asyncio.wait_for`, which redis-py uses, may swallow a cancellation that comes together
    with a result (python/cpython#86296), so the cancellation is repeated until the task has ended.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(_log_failure)
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
    work: Callable[[], Awaitable[object]],
    pause_s: Callable[[], float],
    excused: type[Exception] | tuple[()] = (),
) -> None:
    """Do `work` again and again, with pauses. An error ends one time of it, and is logged unless it is `excused`."""
    while True:
        try:
            await work()
        except excused:
            pass
        except Exception:
            log.exception("background_work_failed")
        await asyncio.sleep(pause_s())


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("background_work_ended", exc_info=error)


async def cancel_all(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel `tasks` and wait until they have ended. Repeats cancellations, as `in_background`."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN_AFTER_S)
