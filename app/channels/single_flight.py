"""One at a time per name, inside this replica.

Requests of one issuer queue here, so that a replica has one of them in Redis' queue and not a hundred.
"""

import asyncio
from collections.abc import Hashable
from typing import Self

from app.errors import DeadlineExceeded


class Turn:
    """One request's turn at the gate: an asynchronous context manager."""

    __slots__ = ("_gate", "_holds", "_lock", "_name", "_until")

    def __init__(self, gate: "SingleFlight", name: Hashable, until: float) -> None:
        self._gate = gate
        self._name = name
        self._until = until
        self._holds = False

    async def __aenter__(self) -> Self:
        self._lock, is_alone = self._gate.enter(self._name)
        try:
            if is_alone:
                await self._lock.acquire()
            else:
                async with asyncio.timeout_at(self._until):
                    await self._lock.acquire()
        except BaseException as error:
            self._gate.leave(self._name)
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded(
                    "other requests for the same channel took all the time there was"
                ) from None
            raise
        self._holds = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self.let_others_pass()
        self._gate.leave(self._name)

    def let_others_pass(self) -> None:
        """Open the gate early, for the rest of this turn. Doing so again is harmless."""
        if self._holds:
            self._holds = False
            self._lock.release()


class SingleFlight:
    """A lock per name that exists while somebody wants it."""

    def __init__(self) -> None:
        """Start with nobody waiting."""
        self._locks: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    def passing(self, name: Hashable, *, until: float) -> Turn:
        """Return a context that waits for `name`'s turn; it ends with the block, or lets others pass before.

        Entering it raises:
            DeadlineExceeded: the turn did not come until `until`, a time of the event loop.
        """
        return Turn(self, name, until)

    def enter(self, name: Hashable) -> tuple[asyncio.Lock, bool]:
        """Count one more who wants `name`; return its lock, and whether nobody else does."""
        lock, wanted = self._locks.get(name) or (asyncio.Lock(), 0)
        self._locks[name] = (lock, wanted + 1)
        return lock, wanted == 0

    def leave(self, name: Hashable) -> None:
        """Count one less."""
        lock, wanted = self._locks[name]
        if wanted == 1:
            del self._locks[name]
        else:
            self._locks[name] = (lock, wanted - 1)
