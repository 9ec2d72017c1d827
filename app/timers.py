"""Timers that are nearly always cancelled: one timer of the event loop serves all of them.

A timer of uvloop takes 3 us from its start to its cancellation, an entry of this heap less than 1 us.
"""

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable
from typing import Final

_RESOLUTION_S: Final = 0.001
"""uvloop's clock: a timer may be due that much early."""


class Timer:
    """One entry."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """Never call back."""
        self.callback = None

    def ring(self) -> None:
        """Call back, unless it was cancelled, also in this iteration of the event loop."""
        if self.callback is not None:
            self.callback()


class Timers:
    """A heap of timers. A cancelled one stays in it until its time has come."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._next: asyncio.TimerHandle | None = None
        self._next_at = math.inf

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` at `when`, a time of the running event loop."""
        timer = Timer(callback)
        heapq.heappush(self._heap, (when, next(self._numbers), timer))
        if when < self._next_at:
            self._wait_until(when)
        return timer

    def _wait_until(self, when: float) -> None:
        if self._next is not None:
            self._next.cancel()
        loop = asyncio.get_running_loop()
        self._next, self._next_at = loop.call_at(when, self._ring, loop), when

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._next, self._next_at = None, math.inf
        due, heap = loop.time() + _RESOLUTION_S, self._heap
        while heap and (heap[0][0] <= due or heap[0][2].callback is None):
            timer = heapq.heappop(heap)[2]
            if timer.callback is not None:
                loop.call_soon(timer.ring)
        if heap:
            self._wait_until(heap[0][0])
