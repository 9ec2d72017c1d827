"""Time limits of what is awaited, on a shared timer."""

import asyncio
from types import TracebackType

from app.timers import Timers


class TimeLimit:
    """Does what `asyncio.timeout_at` does, in a third of its time: that one starts a timer of the event loop.

    A context manager, for one use. The body gets `CancelledError` at `until`, a time of the running event loop; after
    it comes `TimeoutError`, unless the task is cancelled for another reason too.
    """

    __slots__ = ("_cancelling", "_is_expired", "_task", "_timer", "_timers", "_until")

    def __init__(self, timers: Timers, until: float) -> None:
        self._timers = timers
        self._until = until
        self._is_expired = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task has a time limit")
        self._task = task
        self._cancelling = task.cancelling()
        self._timer = self._timers.call_at(self._until, self._expire)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if not self._is_expired:
            return
        is_cancelled_by_others = self._task.uncancel() > self._cancelling
        if kind is asyncio.CancelledError and not is_cancelled_by_others:
            raise TimeoutError from error

    def _expire(self) -> None:
        self._is_expired = True
        self._task.cancel()
