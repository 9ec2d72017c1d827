"""The fleet as the dashboard shows it: read and rendered at most once a second, however many people look.

While the registry is not to be believed, viewers get what was seen last and how old it is.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from app.errors import RegistryUnavailable
from app.registry.sfus import SfuStatus

_FRESH_S: Final = 1.0
_PAUSE_PER_READ: Final = 20
"""Reading a large fleet takes long; viewers never make it cost more than a twentieth of the time."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """Every SFU at one moment."""

    rendered: bytes
    age_ms: int
    """How long ago that was."""


class FleetView:
    """Reads the fleet for all viewers of this replica."""

    def __init__(
        self,
        read: Callable[[], Awaitable[list[SfuStatus]]],
        is_believed: Callable[[], bool],
        render: Callable[[Sequence[SfuStatus]], bytes],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take how to read the fleet, whether the registry is believed now, how to write it down, and a `clock` in
        seconds.
        """
        self._read = read
        self._is_believed = is_believed
        self._render = render
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._rendered = render(())
        self._seen_at = clock()
        self._fresh_until = self._seen_at

    async def look(self) -> Sighting:
        """Return the fleet of this second, or the last one that was seen. Never raises."""
        async with self._one_at_a_time:
            if self._is_believed() and self._clock() >= self._fresh_until:
                await self._read_again()
        return Sighting(self._rendered, max(0, round((self._clock() - self._seen_at) * 1000)))

    async def _read_again(self) -> None:
        started = self._clock()
        try:
            sfus = await self._read()
        except RegistryUnavailable:
            self._fresh_until = self._clock() + _FRESH_S
            return
        self._seen_at = self._clock()
        self._rendered = await asyncio.to_thread(self._render, sfus)  # ten thousand would hold up channels
        took = self._seen_at - started
        self._fresh_until = self._seen_at + max(_FRESH_S, took * _PAUSE_PER_READ)
