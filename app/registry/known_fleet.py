"""The fleet as people see it: `/v1/health`, the dashboard and its history, the metrics.

All of it comes from the snapshot, the replica's one reading. A look makes the replica read at once, so the snapshot
is as new as what the viewer sees. The history and the metrics follow the snapshot without a reading of their own.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, Protocol

from app.background import in_background, repeated
from app.errors import RegistryUnavailable
from app.registry.availability import RegistryAvailability
from app.registry.fleet_reader import FleetReader
from app.registry.sfus import SfuStatus, in_order

_SHARED_S: Final = 0.9
"""Each viewer asks at most once a second. Viewers that ask within this time share a reading."""
_PERIOD_S: Final = 10.0
_LONGEST_PERIOD_S: Final = 45.0
"""The history has steps of a minute."""
_PERIOD_PER_SFU_S: Final = 0.0045
"""Following an SFU takes about 10 us: a large fleet takes a five-hundredth of the time."""
_AT_ONCE: Final = 100
"""SFUs between which requests have their turn."""


class FleetFollower(Protocol):
    """Follows the fleet in the background, some SFUs at a time, and keeps what it needs."""

    def begin(self) -> None:
        """All SFUs follow. The former time may have broken off."""

    def take(self, sfus: Sequence[SfuStatus], /) -> None:
        """Take some of the SFUs. No SFU comes twice."""

    async def finish(self) -> None:
        """That were all. May raise `RegistryUnavailable`."""


class KnownFleet:
    """Shows the snapshot to people and followers."""

    def __init__(
        self,
        switch: RegistryAvailability,
        reader: FleetReader,
        followers: Sequence[FleetFollower] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` is in seconds."""
        self._switch = switch
        self._reader = reader
        self._followers = followers
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._fresh_until = float("-inf")
        self._is_expired = False
        """Whether an operator has changed something since the last reading began."""

    async def read(self) -> list[SfuStatus]:
        """Return every SFU, living and lost, by region and address, as the registry has it now.

        Callers that come during a reading, or just after it, share it. Raises `RegistryUnavailable`, also while the
        registry is in doubt.
        """
        asked_at = self._clock()
        async with self._one_at_a_time:
            if self._switch.uses_registry and asked_at > self._fresh_until:
                self._reader.watch()
                self._is_expired = False
                await self._switch.refresh()
                if not self._is_expired:
                    self._fresh_until = self._clock() + _SHARED_S
        if not self._switch.uses_registry:
            raise RegistryUnavailable("the registry is not in use")
        return self.last_seen()

    async def read_or_last_seen(self) -> list[SfuStatus]:
        """Return the fleet as the registry has it; while that is in doubt, as this replica last saw it."""
        with suppress(RegistryUnavailable):
            return await self.read()
        return self.last_seen()

    def last_seen(self) -> list[SfuStatus]:
        """Return every SFU of the snapshot, by region and address."""
        return in_order(self._switch.snapshot.sfus)

    def expire(self, *addresses: str) -> None:
        """Make the next viewer read anew, these SFUs in particular: an operator has changed something."""
        self._reader.want(*addresses)
        self._is_expired, self._fresh_until = True, float("-inf")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let followers follow for as long as the block runs. Fails open: without Redis they keep what they have."""
        async with in_background(
            repeated(self.follow, lambda: period_of(len(self._switch.snapshot.sfus)), RegistryUnavailable)
        ):
            yield

    async def follow(self) -> None:
        """Let followers follow once, unless the registry is in doubt. Raises `RegistryUnavailable`."""
        if not self._switch.uses_registry:
            return
        sfus = self._switch.snapshot.sfus
        for follower in self._followers:
            follower.begin()
        for start in range(0, len(sfus), _AT_ONCE):
            for follower in self._followers:
                follower.take(sfus[start : start + _AT_ONCE])
            await asyncio.sleep(0)
        for follower in self._followers:
            await follower.finish()


def period_of(sfus: int) -> float:
    """Return the seconds between two times that followers follow a fleet of so many SFUs."""
    return min(max(_PERIOD_S, sfus * _PERIOD_PER_SFU_S), _LONGEST_PERIOD_S)
