"""Each SFU's last hour, for the dashboard's plots: sampled from the registry, kept in this replica's memory.

Every 20 s all SFUs are read once. A sample is three single-precision floats, an hour of one SFU 2.2 kB, and at
most 10,000 SFUs are kept: 22 MB, plus about 5 MB for addresses and objects, is the bound. Replicas sample
for themselves, so each knows the time since its own start.
"""

import asyncio
import math
import time
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from app.background import in_background
from app.errors import StoreUnavailable
from app.sfus import SfuStatus

STEP_S: Final = 20
SAMPLES: Final = 3600 // STEP_S
MOST_SFUS: Final = 10_000

_BATCH: Final = 250
_UNKNOWN: Final = math.nan


@dataclass(frozen=True, slots=True)
class Series:
    """One SFU's past, oldest first, one value per step; `None` where it was not known or not alive."""

    load: tuple[float | None, ...]
    sessions: tuple[float | None, ...]
    channels: tuple[float | None, ...]


class _Track:
    """Rings of one SFU, indexed by the number of the step."""

    __slots__ = ("channels", "last_step", "load", "sessions")

    def __init__(self, step: int) -> None:
        self.load = array("f", [_UNKNOWN]) * SAMPLES
        self.sessions = array("f", [_UNKNOWN]) * SAMPLES
        self.channels = array("f", [_UNKNOWN]) * SAMPLES
        self.last_step = step

    def write(self, step: int, sfu: SfuStatus) -> None:
        for skipped in range(max(self.last_step + 1, step - SAMPLES), step):
            self._put(skipped, _UNKNOWN, _UNKNOWN, _UNKNOWN)
        self._put(step, sfu.load, sfu.sessions, sfu.channels)
        self.last_step = step

    def _put(self, step: int, load: float, sessions: float, channels: float) -> None:
        index = step % SAMPLES
        self.load[index], self.sessions[index], self.channels[index] = load, sessions, channels

    def read(self, ring: Sequence[float], newest: int) -> tuple[float | None, ...]:
        steps = range(newest - SAMPLES + 1, newest + 1)
        return tuple(self._at(ring, step) for step in steps)

    def _at(self, ring: Sequence[float], step: int) -> float | None:
        if not self.last_step - SAMPLES < step <= self.last_step:
            return None
        value = ring[step % SAMPLES]
        return None if math.isnan(value) else round(value, 4)


class History:
    """What each SFU's load, sessions and channels were during the last hour."""

    def __init__(
        self,
        read: Callable[[], Awaitable[Sequence[SfuStatus]]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take how to read the fleet and a `clock` in seconds."""
        self._read = read
        self._clock = clock
        self._tracks: dict[str, _Track] = {}

    async def sample(self) -> None:
        """Read the fleet once and remember its figures; while there is no registry, nothing: a gap."""
        try:
            fleet = await self._read()
        except StoreUnavailable:
            return
        for start in range(0, len(fleet), _BATCH):
            self.record(fleet[start : start + _BATCH])
            await asyncio.sleep(0)  # channels come first
        self.forget_the_dead()

    def record(self, fleet: Iterable[SfuStatus]) -> None:
        """Remember the figures of those in `fleet` that live."""
        step = self._step()
        for sfu in fleet:
            if sfu.state != "down":
                self._write(step, sfu)

    def forget_the_dead(self) -> None:
        """Drop whoever has not been sampled for an hour."""
        step = self._step()
        gone = [address for address, track in self._tracks.items() if track.last_step <= step - SAMPLES]
        for address in gone:
            del self._tracks[address]

    def _write(self, step: int, sfu: SfuStatus) -> None:
        track = self._tracks.get(sfu.address)
        if track is None:
            if len(self._tracks) >= MOST_SFUS:
                return
            track = self._tracks[sfu.address] = _Track(step)
        track.write(step, sfu)

    def of(self, address: str) -> Series:
        """Return one SFU's last hour; nothing but `None` for one that has not been sampled."""
        track, newest = self._tracks.get(address), self._step()
        if track is None:
            nothing = (None,) * SAMPLES
            return Series(nothing, nothing, nothing)
        return Series(
            track.read(track.load, newest),
            track.read(track.sessions, newest),
            track.read(track.channels, newest),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sample in the background for as long as the block runs."""
        async with in_background(self._sample_forever()):
            yield

    async def _sample_forever(self) -> None:
        while True:
            await self.sample()
            await asyncio.sleep(STEP_S - self._clock() % STEP_S)

    def _step(self) -> int:
        return int(self._clock() // STEP_S)
