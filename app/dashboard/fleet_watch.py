"""The fleet as the dashboard and `/v1/health` show it: read and rendered at most once a second, however many look.

While the registry is not available, viewers of the dashboard get what was seen last and how old it is.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from app.errors import RegistryUnavailable
from app.registry.sfus import SfuStatus

_FRESH_S: Final = 1.0
_PAUSE_PER_READ: Final = 20
"""Reading a large fleet takes long: viewers make it cost a twentieth of the time."""
_LONGEST_PAUSE_PER_SFU_S: Final = 0.001
"""A read that was slow because Redis or this replica stood still delays no later one."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sighting(Generic[T]):
    """Every SFU at one moment."""

    rendered: T
    age_ms: int
    """How long ago that was."""


class FleetView(Generic[T]):
    """Reads the fleet for all viewers of this replica."""

    def __init__(
        self,
        read: Callable[[], Awaitable[list[SfuStatus]]],
        is_believed: Callable[[], bool],
        render: Callable[[Sequence[SfuStatus]], T],
        clock: Callable[[], float] = time.monotonic,
        situation: Callable[[], Hashable] = lambda: None,
    ) -> None:
        """`is_believed` says whether to read now, `clock` is in seconds.

        Another `situation` than at the last reading makes the next viewer read at once.
        """
        self._situation = situation
        self._read_in: Hashable = None
        self._read = read
        self._is_believed = is_believed
        self._render = render
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._rendered = render(())
        self._seen_at = clock()
        self._fresh_until = self._seen_at

    async def look(self) -> Sighting[T]:
        """Return the fleet of this second, or the last known one. Never raises."""
        async with self._one_at_a_time:
            is_due = self._clock() >= self._fresh_until or self._situation() != self._read_in
            if self._is_believed() and is_due:
                await self._read_again()
        return Sighting(self._rendered, max(0, round((self._clock() - self._seen_at) * 1000)))

    def expire(self) -> None:
        """Make the next viewer read: an operator has just changed something."""
        self._fresh_until = self._clock()

    async def _read_again(self) -> None:
        started, self._read_in = self._clock(), self._situation()
        try:
            sfus = await self._read()
        except RegistryUnavailable:
            self._fresh_until = self._clock() + _FRESH_S
            return
        self._seen_at = started  # this replica may have stood still since
        self._rendered = await asyncio.to_thread(self._render, sfus)  # ten thousand would hold up channels
        now = self._clock()
        pause = min((now - started) * _PAUSE_PER_READ, len(sfus) * _LONGEST_PAUSE_PER_SFU_S)
        self._fresh_until = now + max(_FRESH_S, pause)
