"""One at a time per name, inside this replica.

Requests of one issuer queue here, so that a replica has one of them in Redis' queue and not a hundred.
"""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from app.errors import DeadlineExceeded


async def _acquire(lock: asyncio.Lock, until: float) -> None:
    try:
        async with asyncio.timeout_at(until):
            await lock.acquire()
    except TimeoutError:
        raise DeadlineExceeded("other requests for the same channel took all the time there was") from None


class Turn:
    """A request's turn at the gate."""

    def __init__(self, lock: asyncio.Lock) -> None:
        """Take the held `lock`."""
        self._lock: asyncio.Lock | None = lock

    def let_others_pass(self) -> None:
        """Open the gate early, for the rest of this turn. Doing so again is harmless."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None


class Gate:
    """A lock per name that exists while somebody wants it."""

    def __init__(self) -> None:
        """Start with nobody waiting."""
        self._locks: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def passing(self, name: Hashable, *, until: float) -> AsyncIterator[Turn]:
        """Wait for `name`'s turn; it ends with the block, or when the turn lets others pass.

        Raises:
            DeadlineExceeded: the turn did not come until `until`, a time of the event loop.
        """
        lock, wanted = self._locks.get(name, (None, 0))
        lock = lock or asyncio.Lock()
        self._locks[name] = (lock, wanted + 1)
        try:
            await _acquire(lock, until)
            turn = Turn(lock)
            try:
                yield turn
            finally:
                turn.let_others_pass()
        finally:
            lock, wanted = self._locks[name]
            if wanted == 1:
                del self._locks[name]
            else:
                self._locks[name] = (lock, wanted - 1)
