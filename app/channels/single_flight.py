"""One request at a time per name, inside this replica.

Requests of one issuer wait here, so that a replica sends Redis one of them at a time, not a hundred.
"""

import asyncio
from collections import deque
from collections.abc import Hashable
from contextlib import suppress
from typing import Self, TypeAlias

from app.errors import DeadlineExceeded

_Queues: TypeAlias = dict[Hashable, deque[asyncio.Future[None]] | None]
"""Of each name that a request holds: the requests that wait for it, oldest first; `None` until there is one."""


class Slot:
    """The place of one request in the queue of its name: an asynchronous context manager."""

    __slots__ = ("_holds", "_name", "_queues", "_until")

    def __init__(self, queues: _Queues, name: Hashable, until: float) -> None:
        self._queues = queues
        self._name = name
        self._until = until
        self._holds = False

    async def __aenter__(self) -> Self:
        if self._name in self._queues:
            await self._wait()
        else:
            self._queues[self._name] = None
        self._holds = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self.let_others_pass()

    async def _wait(self) -> None:
        """Wait until the request before hands the name over."""
        queue = self._queues[self._name]
        if queue is None:
            queue = self._queues[self._name] = deque()
        handed_over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(handed_over)
        try:
            async with asyncio.timeout_at(self._until):
                await handed_over
        except BaseException as error:
            if handed_over.cancelled():
                with suppress(ValueError):  # skipped by a request that handed the name over
                    queue.remove(handed_over)
            else:  # in the same iteration of the event loop
                self._hand_over()
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded(
                    "other requests for the same channel took all the time there was"
                ) from None
            raise

    def let_others_pass(self) -> None:
        """Release the name early. A repeated call does nothing."""
        if self._holds:
            self._holds = False
            self._hand_over()

    def _hand_over(self) -> None:
        queue = self._queues[self._name]
        while queue:
            waiting = queue.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return
        del self._queues[self._name]


class SingleFlight:
    """The names that requests hold."""

    def __init__(self) -> None:
        self._queues: _Queues = {}

    def passing(self, name: Hashable, *, until: float) -> Slot:
        """Return a context that waits for `name`, and releases it at the end of the block or before.

        Entering it raises:
            DeadlineExceeded: other requests held `name` until `until`, a time of the event loop.
        """
        return Slot(self._queues, name, until)
