"""One reading of the whole fleet for all its readers: `/v1/health`, the dashboard and its history, the metrics.

Reading costs Redis and this replica work for every SFU, so all readers share it. The replica reads every ten seconds.
It reads a large fleet less often, so that reading takes at most a fiftieth of the time, but at least every 45 s: the
history has steps of a minute. It reads page by page and keeps the whole fleet in memory only while the dashboard is
open.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Final, Protocol

from app.background import in_background
from app.errors import RegistryUnavailable
from app.registry.sfus import SfuStatus, in_order

_PERIOD_S: Final = 10.0
_LONGEST_PAUSE_S: Final = 45.0
_PAUSE_PER_READ: Final = 50
_SHARED_S: Final = 0.9
"""Each viewer asks at most once a second. Viewers that ask within this time share a reading."""


class FleetFollower(Protocol):
    """Receives each reading page by page, and keeps what it needs."""

    def begin(self) -> None:
        """A reading begins. The reading before may have failed in between."""

    def take(self, page: Sequence[SfuStatus], /) -> None:
        """Take some SFUs of this reading. No SFU comes twice."""

    async def finish(self) -> None:
        """The reading is complete. May raise `RegistryUnavailable`."""


class FleetReader:
    """Reads the fleet for its followers, in the background and on demand."""

    def __init__(
        self,
        pages: Callable[[], AsyncGenerator[Sequence[SfuStatus]]],
        followers: Sequence[FleetFollower],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` is in seconds."""
        self._pages = pages
        self._followers = followers
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._for_viewers = asyncio.Lock()
        self._due_at = clock()
        self._whole: list[SfuStatus] = []
        self._whole_until = float("-inf")

    async def read(self, *more: FleetFollower) -> None:
        """Read once, for all followers and `more`. Raises `RegistryUnavailable`."""
        async with self._one_at_a_time:
            started, followers = self._clock(), (*self._followers, *more)
            try:
                await self._read(followers)
            finally:
                ended = self._clock()
                self._due_at = ended + pause_after(ended - started)

    async def _read(self, followers: Sequence[FleetFollower]) -> None:
        for follower in followers:
            follower.begin()
        async with aclosing(self._pages()) as pages:
            async for page in pages:
                for follower in followers:
                    follower.take(page)
        for follower in followers:
            await follower.finish()

    async def fleet(self) -> list[SfuStatus]:
        """Return every SFU, living and lost, by region and address. Raises `RegistryUnavailable`.

        Callers that come during a reading, or just after it, share it.
        """
        asked_at = self._clock()
        async with self._for_viewers:
            if asked_at > self._whole_until:
                whole = _Whole()
                await self.read(whole)
                self._whole, self._whole_until = in_order(whole.sfus), self._clock() + _SHARED_S
            return self._whole

    def expire(self) -> None:
        """Make the next viewer read anew, after an operator has changed something."""
        self._whole_until = float("-inf")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read in the background for as long as the block runs. Fails open: without Redis it tries again."""
        async with in_background(self._read_forever()):
            yield

    async def _read_forever(self) -> None:
        while True:
            if self._clock() > self._whole_until:
                self._whole = []  # no viewer is left: free the memory of a large fleet
            with suppress(RegistryUnavailable):
                if self._clock() >= self._due_at:  # a reading on demand has postponed it
                    await self.read()
            await asyncio.sleep(max(0.0, self._due_at - self._clock()))


def pause_after(took_s: float) -> float:
    """Return the pause in seconds before the next background reading, given that the last one took `took_s`."""
    return max(_PERIOD_S, min(took_s * _PAUSE_PER_READ, _LONGEST_PAUSE_S))


class _Whole:
    """A follower that keeps everything."""

    def __init__(self) -> None:
        self.sfus: list[SfuStatus] = []

    def begin(self) -> None:
        self.sfus = []

    def take(self, page: Sequence[SfuStatus]) -> None:
        self.sfus += page

    async def finish(self) -> None:
        pass
