"""The metrics of the fleet, set from the snapshot in the background: states, headroom, ages, transitions.

While Redis is away the last values stay, and `fleet_age_seconds` grows.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from app.registry.capacity import Capacity, Limits
from app.registry.registry import Registry
from app.registry.sfus import SfuStatus
from app.registry.stream_ids import parse_stream_id
from app.states import State
from app.telemetry.metrics import Metrics

_EVENTS_PER_READ: Final = 200


@dataclass(slots=True)
class _Totals:
    """The sums over the SFUs of one region."""

    states: Counter[tuple[State, str]] = field(default_factory=Counter)
    breakers: Counter[str] = field(default_factory=Counter)
    selectable: int = 0
    oldest_heartbeat_ms: int = 0
    channels: int = 0
    sessions: int = 0
    capacity: Capacity = field(default_factory=Capacity)

    def add(self, sfu: SfuStatus, limits: Limits) -> None:
        self.states[sfu.state, sfu.reason] += 1
        self.selectable += sfu.is_selectable
        if not sfu.is_living:
            return
        self.breakers[sfu.breaker] += 1
        self.oldest_heartbeat_ms = max(self.oldest_heartbeat_ms, sfu.heartbeat_age_ms)
        self.channels += sfu.channels
        self.sessions += sfu.sessions
        self.capacity.add([sfu], limits)


class FleetGauges:
    """Sets the metrics of the fleet. Follows a `KnownFleet`."""

    def __init__(
        self,
        metrics: Metrics,
        registry: Registry,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` is in seconds."""
        self._metrics = metrics
        self._registry = registry
        self._limits = limits
        self._clock = clock
        self._regions: dict[str, _Totals] = {}
        self._read_at = clock()
        self._last_id = ""
        self._newest_since = clock()
        metrics.fleet_age.set_function(lambda: self._clock() - self._read_at)

    def begin(self) -> None:
        """Begin the sums at zero."""
        self._regions = {}

    def take(self, sfus: Iterable[SfuStatus]) -> None:
        """Add some of the SFUs."""
        for sfu in sfus:
            self._regions.setdefault(self._metrics.region(sfu.region), _Totals()).add(sfu, self._limits)

    async def finish(self) -> None:
        """Read new transitions and set all metrics. Raises `RegistryUnavailable`: the last values stay."""
        await self._follow_events()
        self.show()
        self._read_at = self._clock()

    def show(self) -> None:
        """Set the gauges to the sums. Regions that the fleet no longer has disappear."""
        metrics = self._metrics
        for gauge in (
            metrics.sfus, metrics.selectable, metrics.breakers, metrics.heartbeat_age, metrics.channels,
            metrics.sessions, metrics.headroom, metrics.headroom_ratio,
        ):  # fmt: skip
            gauge.clear()
        for region, totals in self._regions.items():
            self._show_region(region, totals)

    def _show_region(self, region: str, totals: _Totals) -> None:
        metrics = self._metrics
        for (state, reason), count in totals.states.items():
            metrics.sfus.labels(region, state, reason).set(count)
        for breaker, count in totals.breakers.items():
            metrics.breakers.labels(region, breaker).set(count)
        metrics.selectable.labels(region).set(totals.selectable)
        metrics.heartbeat_age.labels(region).set(totals.oldest_heartbeat_ms / 1000)
        metrics.channels.labels(region).set(totals.channels)
        metrics.sessions.labels(region).set(totals.sessions)
        metrics.headroom.labels(region).set(round(totals.capacity.free, 3))
        metrics.headroom_ratio.labels(region).set(round(totals.capacity.ratio, 6))

    async def _follow_events(self) -> None:
        """Count transitions since the last read, and see how long the oldest unpublished one waits.

        Stream ids are times of Redis' clock and are compared only with each other. The time since the newest id is
        measured by this replica. So the lag does not depend on a difference between clocks.
        """
        if not self._last_id:
            self._last_id = await self._registry.outbox.last_event_id()
        while entries := await self._registry.outbox.events_after(self._last_id, _EVENTS_PER_READ):
            for _, fields in entries:
                self._metrics.transitions.labels(fields["type"]).inc()
            self._last_id, self._newest_since = entries[-1][0], self._clock()
        totals = await self._registry.rescues.totals()
        self._metrics.rescue_seconds.set(totals.pop("ms") / 1000)
        for result, count in totals.items():
            self._metrics.rescued_calls.labels(result).set(count)
        waiting = await self._registry.outbox.events_after(await self._registry.outbox.cursor(), 1)
        lag_s = 0.0
        if waiting:
            behind_ms = parse_stream_id(self._last_id)[0] - parse_stream_id(waiting[0][0])[0]
            lag_s = max(0, behind_ms) / 1000 + self._clock() - self._newest_since
        self._metrics.event_lag.set(lag_s)
