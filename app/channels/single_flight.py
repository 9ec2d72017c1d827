"""One request at a time per name, inside this replica.

Requests of one issuer wait here, so that a replica sends Redis one of them at a time, not a hundred.
"""

import asyncio
from collections.abc import Hashable
from typing import Self

from app.errors import DeadlineExceeded


class Slot:
    """The place of one request in the queue of its name: an asynchronous context manager."""

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
        """Release the lock early. A repeated call does nothing."""
        if self._holds:
            self._holds = False
            self._lock.release()


class SingleFlight:
    """A lock per name. It exists while a request needs it."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    def passing(self, name: Hashable, *, until: float) -> Slot:
        """Return a context that waits for the lock of `name`, and releases it at the end of the block or before.

        Entering it raises:
            DeadlineExceeded: the lock was not free until `until`, a time of the event loop.
        """
        return Slot(self, name, until)

    def enter(self, name: Hashable) -> tuple[asyncio.Lock, bool]:
        """Count one more request for `name`. Return its lock, and whether no other request needs it."""
        lock, wanted = self._locks.get(name) or (asyncio.Lock(), 0)
        self._locks[name] = (lock, wanted + 1)
        return lock, wanted == 0

    def leave(self, name: Hashable) -> None:
        """Count one request less."""
        lock, wanted = self._locks[name]
        if wanted == 1:
            del self._locks[name]
        else:
            self._locks[name] = (lock, wanted - 1)
