"""Whether this replica uses the registry: one switch for all its requests.

    available ──a call fails──> unavailable ──Redis answers──> recovering ──complete, or later──> available
        └──────data was lost, or most SFUs fell silent at once──────^

In the mode `unavailable` no request waits for Redis: the snapshot places channels, and heartbeats are refused at
once. In the mode `recovering` heartbeats are accepted again, so that the registry fills. The snapshot still places
channels, until every SFU of the snapshot is registered, or so long that an SFU that has not reported by then is down.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final, Literal, TypeVar

from app.background import in_background
from app.errors import RegistryUnavailable
from app.logs import logger
from app.registry.snapshot import EMPTY_SNAPSHOT, Snapshot

log = logger(__name__)

Answer = TypeVar("Answer")
Mode = Literal["available", "unavailable", "recovering"]

_PROBE_PAUSE_S: Final = 0.25
_READ_PAUSE_S: Final = 1.0
_SHAKY_S: Final = 5.0


class RegistryAvailability:
    """Keeps the snapshot fresh and decides between it and the registry."""

    def __init__(
        self,
        read: Callable[[], Awaitable[Snapshot]],
        *,
        grace_s: float,
        on_return: Callable[[], Awaitable[None]],
        answered_at: Callable[[], float],
        slow_at: Callable[[], float] = lambda: -math.inf,
        clock: Callable[[], float] = time.monotonic,
        on_failure: Callable[[RegistryUnavailable], None] | None = None,
        on_snapshot: Callable[[], Awaitable[None]] | None = None,
        initial: Snapshot = EMPTY_SNAPSHOT,
    ) -> None:
        """`grace_s` is how long an SFU may be silent after a return before its calls may move.

        `answered_at` and `slow_at` say when Redis last answered a request, and when it was last slow in that.

        `on_failure` is called for each call that Redis did not serve, `on_snapshot` for each new snapshot.

        The `initial` snapshot, of static SFUs, serves until Redis has been read.
        """
        self._read = read
        self._grace_s = grace_s
        self._on_return = on_return
        self._answered_at = answered_at
        self._slow_at = slow_at
        self._left_at = -math.inf
        self.now: Final = clock
        """The time by which calls are compared, in seconds."""
        self._on_failure = on_failure
        self._on_snapshot = on_snapshot
        self._has_read = False
        self._redis_ahead_ms: float | None = None
        self._returned_at = 0.0
        self._wanted = asyncio.Event()
        """A reading is wanted before its time."""
        self._reading = asyncio.Lock()
        self._read_at = float("-inf")
        self._ended_at = -math.inf
        """When the last reading ended, by the loop's clock."""
        self._readings = 0
        self.mode: Mode = "available"
        self.failure: RegistryUnavailable | None = None
        """What the last call met that Redis did not serve."""
        self._left_registry_at = clock()
        self.snapshot = initial

    @property
    def uses_registry(self) -> bool:
        """Whether channels are placed by the registry now."""
        return self.mode == "available"

    @property
    def refuses_heartbeats(self) -> bool:
        """Whether Redis is known not to serve."""
        return self.mode == "unavailable"

    @property
    def reason(self) -> str:
        """Why Redis does not serve, in words for callers."""
        return self.failure.detail if self.failure else "the registry does not answer"

    @property
    def away_for_s(self) -> float:
        """For how long channels have not been placed by the registry; 0 while they are."""
        return 0.0 if self.uses_registry else self.now() - self._left_registry_at

    @property
    def is_shaky(self) -> bool:
        """Whether Redis was slow or away a moment ago, so that another replica may place without it now."""
        return self.now() - max(self._slow_at(), self._left_at) < _SHAKY_S

    async def call(self, work: Awaitable[Answer]) -> Answer:
        """Return what `work`, a call to the registry, returns; note when Redis did not serve it. Raises as `work`."""
        asked_at = self.now()
        try:
            return await work
        except RegistryUnavailable as error:
            self.trip(error, asked_at)
            raise

    def trip(self, error: RegistryUnavailable, asked_at: float) -> None:
        """A call made at `asked_at` failed: change to `unavailable`, so that others do not wait for Redis too.

        When Redis has answered another call since, one reply was lost and Redis is not away.
        """
        self.failure = error
        if self._on_failure is not None:
            self._on_failure(error)
        if self.mode != "unavailable" and self._answered_at() <= asked_at:
            cause = str(error.__cause__ or "")  # for the log only: the detail goes to callers
            log.warning("registry_away", detail=error.detail, cause=cause, snapshot=len(self.snapshot.nodes))
            self._leave_registry("unavailable")
            self._wanted.set()

    def read_soon(self) -> None:
        """Read the fleet now rather than at the next second: the snapshot lacks an SFU that the registry has."""
        if self.now() - self._read_at >= _PROBE_PAUSE_S:
            self._wanted.set()

    async def refresh(self) -> None:
        """Read the fleet once, and change the mode by the result.

        A caller that comes during a reading waits for the next one, which it shares with others that wait.
        """
        begun = self._readings
        async with self._reading:
            if self._readings > begun:
                return
            self._readings += 1
            self._read_at = self.now()
            try:
                await self._judge(await self._read())
            except RegistryUnavailable as error:
                self.trip(error, self._read_at)
            except Exception:  # a defect: the last snapshot stays
                log.exception("snapshot_failed")
            finally:
                self._ended_at = asyncio.get_running_loop().time()

    async def _judge(self, fresh: Snapshot) -> None:
        now = self.now()
        if fresh.at_ms:
            self._redis_ahead_ms = fresh.at_ms - now * 1000
        doubt = self._doubt(fresh)
        if doubt:
            if self.mode != "recovering":
                log.warning("registry_in_doubt", reason=doubt, snapshot=len(self.snapshot.nodes))
            if self.mode != "recovering" or fresh.is_held:
                self._returned_at = now
                self._leave_registry("recovering")
        if self.mode == "recovering" and not fresh.is_held:
            is_complete = self.snapshot.addresses <= fresh.addresses
            if is_complete or now - self._returned_at >= self._grace_s:
                await self._on_return()
                self.mode, self._left_at = "available", self.now()
                log.info("registry_back", registered=len(fresh.nodes), complete=is_complete)
        if not self._has_read:  # a replica that has just started knows its static SFUs only
            self._has_read = True
            await self._keep(_merged(self.snapshot, fresh))
        elif self.mode == "available":
            await self._keep(fresh)

    def _leave_registry(self, mode: Literal["unavailable", "recovering"]) -> None:
        if self.uses_registry:
            self._left_registry_at = self.now()
        self.mode = mode

    async def _keep(self, fresh: Snapshot) -> None:
        self.snapshot = fresh
        if self._on_snapshot is not None:
            await self._on_snapshot()

    def _doubt(self, fresh: Snapshot) -> str:
        """Why `fresh` may not be the whole fleet; empty when it is."""
        if fresh.is_held:
            return "most SFUs went silent at once"
        if self.snapshot.began_at and fresh.began_at != self.snapshot.began_at:
            return "the registry has lost its data"
        return "it was away" if self.mode == "unavailable" else ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read once, then in the background for as long as the block runs."""
        pause_s = await self._refresh()
        async with in_background(self._refresh_forever(pause_s)):
            yield

    async def _refresh_forever(self, pause_s: float) -> None:
        while True:
            await self._rest(pause_s)
            pause_s = await self._refresh()

    async def _refresh(self) -> float:
        """Read the fleet once. Returns the seconds until the next reading."""
        started, was_away = self.now(), self.mode == "unavailable"
        await self.refresh()
        is_away = was_away or self.mode == "unavailable"
        return pause_after(self.now() - started, is_away=is_away, is_settled=self.uses_registry)

    async def _rest(self, pause_s: float) -> None:
        """Return `pause_s` after the last reading, which may be a viewer's, or when a reading is wanted."""
        loop = asyncio.get_running_loop()
        self._wanted.clear()
        while not self._wanted.is_set() and (left_s := self._ended_at + pause_s - loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._wanted.wait()

    def redis_ms(self) -> int:
        """Return Redis' clock in ms, as it was seen at the last reading; before the first one this host's clock."""
        if self._redis_ahead_ms is None:
            return round(time.time() * 1000)
        return round(self.now() * 1000 + self._redis_ahead_ms)


def pause_after(took_s: float, *, is_away: bool, is_settled: bool) -> float:
    """Return the seconds until the next reading, given that the last one took `took_s`.

    A settled replica reads what changed, which is cheap for any fleet: the time of a reading says how slow Redis is.
    While the registry fills, readings are whole, and take at most half of the time.
    """
    if is_settled:
        return _READ_PAUSE_S
    return _PROBE_PAUSE_S if is_away else max(_PROBE_PAUSE_S, took_s)


def _merged(initial: Snapshot, fresh: Snapshot) -> Snapshot:
    """Return `fresh`, with the SFUs of `initial` that the registry does not have yet."""
    missing = tuple(node for node in initial.nodes if node.address not in fresh.addresses)
    return replace(fresh, nodes=fresh.nodes + missing)
