"""The metrics that only Redis knows, read in the background: states, headroom, heartbeat ages, transitions.

Reading costs Redis work for every SFU, so it happens every ten seconds, and of a large fleet more rarely: at
most a fiftieth of the time goes into it. While Redis is away the last values stay, and their age grows.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from app.background import in_background
from app.errors import StoreUnavailable
from app.metrics import Metrics
from app.registry import Registry
from app.settings import Settings
from app.sfus import SfuStatus

_PERIOD_S: Final = 10.0
_PAUSE_PER_READ: Final = 50
_EVENTS_PER_READ: Final = 200
_IN_SERVICE: Final = frozenset({"selectable", "overloaded", "full"})
"""Standings of SFUs whose capacity counts: those that are well, however loaded."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Up to where a placement fills an SFU."""

    max_load: float
    weight_sessions: float

    @classmethod
    def from_settings(cls, settings: Settings) -> "Limits":
        """Return the limits that `[overload]` and `[balancing.weights]` set."""
        return cls(settings.overload.max_load, settings.balancing.weights.sessions)

    def headroom(self, sfu: SfuStatus) -> float:
        """Return how many more sessions `sfu` takes before it is full or overloaded; 0 unless selectable.

        load = weight * sessions / max_sessions + the rest, solved for the sessions that reach `max_load`.
        """
        if sfu.standing != "selectable" or sfu.max_sessions <= 0:
            return 0.0
        by_count = sfu.max_sessions - sfu.sessions - sfu.reserved
        if self.weight_sessions <= 0:
            return max(0.0, by_count)
        by_load = (self.max_load - sfu.load) * sfu.max_sessions / self.weight_sessions
        return max(0.0, min(by_count, by_load))


class FleetGauges:
    """Keeps the fleet's metrics true."""

    def __init__(
        self,
        metrics: Metrics,
        registry: Registry,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the `metrics` to keep, where to read, what SFUs are filled to, and a `clock` in seconds."""
        self._metrics = metrics
        self._registry = registry
        self._limits = limits
        self._clock = clock
        self._read_at = clock()
        self._last_id = ""
        self._newest_since = clock()
        metrics.fleet_age.set_function(lambda: self._clock() - self._read_at)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read in the background for as long as the block runs."""
        async with in_background(self._read_forever()):
            yield

    async def _read_forever(self) -> None:
        while True:
            started = self._clock()
            await self.read()
            await asyncio.sleep(max(_PERIOD_S, (self._clock() - started) * _PAUSE_PER_READ))

    async def read(self) -> None:
        """Read once. Fails open: without Redis the last values stay, and `fleet_age_seconds` tells."""
        with contextlib.suppress(StoreUnavailable):
            fleet = await self._registry.fleet()
            await self._follow_events()
            self.show(fleet)
            self._read_at = self._clock()

    def show(self, fleet: Iterable[SfuStatus]) -> None:
        """Set the gauges to what `fleet` says. Regions that it no longer has disappear."""
        by_region: dict[str, list[SfuStatus]] = {}
        for sfu in fleet:
            by_region.setdefault(self._metrics.region(sfu.region), []).append(sfu)
        metrics = self._metrics
        for gauge in (
            metrics.sfus, metrics.selectable, metrics.breakers, metrics.heartbeat_age, metrics.channels,
            metrics.sessions, metrics.headroom, metrics.headroom_ratio,
        ):  # fmt: skip
            gauge.clear()
        for region, sfus in by_region.items():
            self._show_region(region, sfus)

    def _show_region(self, region: str, sfus: list[SfuStatus]) -> None:
        metrics = self._metrics
        for state, count in Counter(sfu.state for sfu in sfus).items():
            metrics.sfus.labels(region, state).set(count)
        alive = [sfu for sfu in sfus if sfu.state != "down"]
        for breaker, count in Counter(sfu.breaker for sfu in alive).items():
            metrics.breakers.labels(region, breaker).set(count)
        metrics.selectable.labels(region).set(sum(sfu.standing == "selectable" for sfu in sfus))
        metrics.heartbeat_age.labels(region).set(
            max((sfu.heartbeat_age_ms for sfu in alive), default=0) / 1000
        )
        metrics.channels.labels(region).set(sum(sfu.channels for sfu in alive))
        metrics.sessions.labels(region).set(sum(sfu.sessions for sfu in alive))
        self._show_headroom(region, [sfu for sfu in alive if sfu.standing in _IN_SERVICE])

    def _show_headroom(self, region: str, sfus: list[SfuStatus]) -> None:
        free = sum(self._limits.headroom(sfu) for sfu in sfus)
        used = sum(sfu.sessions + sfu.reserved for sfu in sfus)
        self._metrics.headroom.labels(region).set(round(free, 3))
        self._metrics.headroom_ratio.labels(region).set(round(free / (free + used), 6) if free else 0)

    async def _follow_events(self) -> None:
        """Count transitions since the last read, and see how long the oldest unpublished one waits.

        Stream ids are Redis' time and are only compared with each other; waiting on from the newest one is
        measured here. So the lag does not depend on anybody's clock.
        """
        if not self._last_id:
            self._last_id = await self._registry.last_event_id()
        while entries := await self._registry.events_after(self._last_id, _EVENTS_PER_READ):
            for _, fields in entries:
                self._metrics.transitions.labels(fields["type"]).inc()
            self._last_id, self._newest_since = entries[-1][0], self._clock()
        waiting = await self._registry.events_after(await self._registry.relayed(), 1)
        lag_s = 0.0
        if waiting:
            behind_ms = _milliseconds(self._last_id) - _milliseconds(waiting[0][0])
            lag_s = max(0, behind_ms) / 1000 + self._clock() - self._newest_since
        self._metrics.event_lag.set(lag_s)


def _milliseconds(stream_id: str) -> int:
    return int(stream_id.partition("-")[0])
