"""Metrics of one replica, in Prometheus' terms. Names, labels and meanings: `docs/metrics.md`.

Each replica has its own registry. Events are counted when they happen. Figures from Redis are read in the background
(`app.telemetry.fleet_gauges`), never for a scrape. Labels never come from a caller: a region is the region of a
registered SFU, and beyond a hundred regions the rest share one label.
"""

import re
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import cache
from types import TracebackType
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector
from prometheus_client.exposition import choose_encoder

from app import __version__
from app.channels.observer import Phase
from app.errors import RegistryUnavailable, ReplicaBusy
from app.events.event import EventType
from app.rates import Rates
from app.registry.losses import RescueResult
from app.registry.placements import Reason
from app.registry.scripts import is_registry_defect
from app.telemetry.counter import FastCounter
from app.telemetry.histogram import FastHistogram

MOST_REGIONS: Final = 100
OTHER: Final = "other"
"""The label of regions beyond `MOST_REGIONS`, and of paths without a route."""

_VERSION: Final = re.compile(r";\s*version=([^;]*)")
_KNOWN_VERSION: Final = re.compile(r"0\.0\.[14]|1\.0\.0")
_ESCAPING: Final = re.compile(r";\s*escaping=[^;]*")
_PAUSE_S: Final = 1.0
_BURST: Final = 10
"""A text of all metrics takes some ten milliseconds, and any caller may ask for it: of each format so many are made
at once and one per `_PAUSE_S` on average. Between them the last one is the answer."""

_HEARTBEAT_ROUTE: Final = "/v1/sfu"
_ENDLESS_ROUTES: Final = frozenset({"/v1/events"})
_REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_PHASE_BUCKETS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5)


class Metrics:
    """All metrics of one replica."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds."""
        self.registry = CollectorRegistry()
        self._rates = Rates(_PAUSE_S, _BURST, clock=clock)
        self._made: dict[str, bytes] = {}
        self._regions: set[str] = set()
        ProcessCollector(registry=self.registry)
        self._make_request_metrics()
        self._make_placement_metrics()
        self._make_fleet_metrics()
        self._make_redis_metrics()
        # A look-up of a series by its labels costs more than counting. Labels are few, see above.
        self._count_request = cache(lambda route, status: self._requests.counter(route, str(status)))
        self._observe_duration = cache(self._duration.observer)
        self._count_heartbeat = cache(lambda status: self._heartbeats.counter(_outcome(status)))

    def _make_request_metrics(self) -> None:
        self._gauge("build_info", "Always 1; the label says which version runs.", "version").labels(
            __version__
        ).set(1)
        self._requests = self._fast_counter(
            "requests", "Requests, by route and HTTP status.", "route", "code"
        )
        self._duration = FastHistogram(
            "sfu_gateway_request_duration_seconds",
            "Time from a request's head to the end of its answer, by route; event streams are left out.",
            "route",
            self.registry,
            _REQUEST_BUCKETS,
        )
        self._problems = self._counter(
            "problems", "Requests answered with a problem document, by its code.", "code"
        )
        self._shed = self._counter("shed_requests", "Requests refused at once because the replica was busy.")
        self._failed_logins = self._counter(
            "failed_logins",
            "Requests whose credential was not valid; an expired or missing one is not counted.",
        )
        self._in_progress = self._gauge(
            "requests_in_progress", "Requests that hold a place in the budget of their kind.", "kind"
        )
        self._in_progress.labels("channel")
        self._heartbeats = self._fast_counter(
            "heartbeats", "Heartbeats: accepted (2xx), refused (4xx) or failed (5xx).", "outcome"
        )
        for outcome in ("accepted", "refused", "failed"):
            self._heartbeats.counter(outcome)

    def _make_placement_metrics(self) -> None:
        phases = FastHistogram(
            "sfu_gateway_phase_duration_seconds",
            "Time of one phase of a channel request: verify, select, forward or report.",
            "phase",
            self.registry,
            _PHASE_BUCKETS,
        )
        names: tuple[Phase, ...] = ("verify", "select", "forward", "report")
        self._phases = {name: phases.observer(name) for name in names}
        self._placements = self._fast_counter(
            "placements", "Channels created, by the region of the SFU and why it was chosen.",
            "region", "reason",
        )  # fmt: skip
        self._failovers = self._counter(
            "failovers", "Channels created on another SFU after one had failed, by region.", "region"
        )
        self._forward_failures = self._counter(
            "forward_failures", "Attempts at which an SFU created no channel, by its region.", "region"
        )
        self._orphaned_channels = self._counter(
            "orphaned_channels",
            "Channels that an SFU created after another one had served the request.",
            "region",
        )
        self._ignored_hints = self._counter(
            "ignored_region_hints", "Channel requests that named an unknown region or country."
        )

    def _make_fleet_metrics(self) -> None:
        self.sfus = self._gauge(
            "sfus", "SFUs, living and lost, by state and reason.", "region", "state", "reason"
        )
        self.selectable = self._gauge("selectable_sfus", "SFUs that may take a new channel.", "region")
        self.breakers = self._gauge("breakers", "Circuit breakers, by state.", "region", "state")
        self.heartbeat_age = self._gauge(
            "heartbeat_age_seconds", "Age of the oldest last heartbeat among living SFUs.", "region"
        )
        self.channels = self._gauge("channels", "Channels that living SFUs report.", "region")
        self.sessions = self._gauge("sessions", "Sessions that living SFUs report.", "region")
        self.headroom = self._gauge(
            "headroom_sessions", "Sessions that selectable SFUs can still take below the limits.", "region"
        )
        self.headroom_ratio = self._gauge(
            "headroom_ratio", "The same as a share of what the region takes at most, 0 to 1.", "region"
        )
        self.transitions = self._counter("transitions", "Transitions of SFUs, by type of event.", "type")
        for kind in get_args(EventType):  # a rate needs the series before its first event
            self.transitions.labels(kind)
        self.rescued_calls = self._gauge(
            "rescued_calls",
            "Calls that Odoo was told of since the registry began, by result: moved, kept, p2p or failed.",
            "result",
        )
        for result in get_args(RescueResult):
            self.rescued_calls.labels(result)
        self.rescue_seconds = self._gauge(
            "rescue_seconds",
            "Time from the event to the result, added up over those calls.",
        )
        self.event_lag = self._gauge(
            "event_lag_seconds", "For how long the oldest unpublished transition has been waiting."
        )
        self.fleet_age = self._gauge(
            "fleet_age_seconds", "Time since these fleet metrics were last read from Redis."
        )

    def _make_redis_metrics(self) -> None:
        self.snapshot_mode = self._gauge(
            "snapshot_mode", "1 while channels are placed from the snapshot and not by the registry."
        )
        self._script_errors = self._counter(
            "script_errors",
            "Calls to Redis that failed: unavailable (no answer, or unable) or defect (the script failed).",
            "kind",
        )
        for kind in ("unavailable", "defect"):
            self._script_errors.labels(kind)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"sfu_gateway_{name}", meaning, labels, registry=self.registry)

    def _fast_counter(self, name: str, meaning: str, *labels: str) -> FastCounter:
        return FastCounter(f"sfu_gateway_{name}", meaning, labels, self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"sfu_gateway_{name}", meaning, labels, registry=self.registry)

    # What happens to requests

    def requested(self, route: str | None, status: int, code: str | None, seconds: float) -> None:
        """A request to `route` (`None`: no such route) ended; `code` is that of its problem document, if any."""
        route = route or OTHER
        self._count_request(route, status)()
        if route not in _ENDLESS_ROUTES:
            self._observe_duration(route)(seconds)
        if route == _HEARTBEAT_ROUTE:
            self._count_heartbeat(status)()
        if code is not None:
            self._problems.labels(code).inc()

    def refused_early(self, status: int, code: str) -> None:
        """`app.server` refused a request before the application saw it."""
        self.requested(None, status, code, 0.0)
        if code == ReplicaBusy.code:
            self.shed()

    def shed(self) -> None:
        """A request found no place in its budget."""
        self._shed.inc()

    def login_failed(self) -> None:
        """A credential was not valid."""
        self._failed_logins.inc()

    def watch(self, in_progress: Mapping[str, Callable[[], float]]) -> None:
        """Export how many requests of each kind have a place in their budget."""
        for kind, count in in_progress.items():
            self._in_progress.labels(kind).set_function(count)

    def crashed(self, error: Exception) -> None:
        """A request ended with an unexpected exception."""
        if is_registry_defect(error):
            self._script_errors.labels("defect").inc()

    def redis_failed(self, _: RegistryUnavailable) -> None:
        """Redis did not serve a call."""
        self._script_errors.labels("unavailable").inc()

    def phase(self, name: Phase) -> AbstractContextManager[None]:
        """Return a context whose time is observed."""
        return _Timer(self._phases[name])

    def begin(self, name: Phase) -> Callable[[], None]:
        """Begin a phase; return what observes its time."""
        observe, started = self._phases[name], time.perf_counter()
        return lambda: observe(time.perf_counter() - started)

    def placed(self, region: str, reason: Reason, attempts: int) -> None:
        """A channel was created."""
        region = self.region(region)
        self._placements.counter(region, reason)()
        if attempts > 1:
            self._failovers.labels(region).inc()

    def forward_failed(self, region: str) -> None:
        """An SFU created no channel."""
        self._forward_failures.labels(self.region(region)).inc()

    def channel_orphaned(self, region: str) -> None:
        """An SFU created a channel too late."""
        self._orphaned_channels.labels(self.region(region)).inc()

    def report_failed(self, error: Exception) -> None:
        """An outcome could not be reported, by a defect."""
        self.crashed(error)

    def hint_ignored(self) -> None:
        """A request named an unknown region or country."""
        self._ignored_hints.inc()

    def region(self, name: str) -> str:
        """Return the label for a region: its name, or `other` once there are too many."""
        if name not in self._regions:
            if len(self._regions) >= MOST_REGIONS:
                return OTHER
            self._regions.add(name)
        return name

    def exposition(self, accept: str | None) -> tuple[bytes, str]:
        """Return all metrics and their content type: Prometheus' text, or OpenMetrics if `accept` names it."""
        encode, content_type = choose_encoder(_readable(accept or ""))
        if self._rates.admits(content_type):
            self._made[content_type] = encode(self.registry)
        return self._made[content_type], content_type


def _readable(accept: str) -> str:
    """Return the part of an `Accept` header that the client library can read, in the few forms that exist.

    Names of ours need no escaping.
    """
    ranges = ((_ESCAPING.sub("", each), _VERSION.search(each)) for each in accept.split(","))
    return ",".join(
        each for each, version in ranges if version is None or _KNOWN_VERSION.fullmatch(version[1])
    )


class _Timer(AbstractContextManager[None]):
    """Observes the seconds between entry and exit, also after an error.

    `contextlib.contextmanager` costs 0.9 us more per phase; a channel request has four.
    """

    __slots__ = ("_observe", "_started")

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._observe(time.perf_counter() - self._started)


def _outcome(status: int) -> str:
    if status < 400:
        return "accepted"
    return "refused" if status < 500 else "failed"
