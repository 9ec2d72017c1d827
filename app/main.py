"""The application of one replica: routes, middleware and handlers as lists, resources in the lifespan."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from app.api.endpoints import admin, channel, dashboard, disconnect, events, health, metrics, openapi, sfu
from app.api.middleware.admission import Admission, Capacity
from app.api.middleware.body_limit import BodyLimit
from app.api.openapi import openapi_json
from app.api.problems import render_disconnect, render_gateway_error, render_http_exception, render_unexpected
from app.api.request_context import RequestLog
from app.api.state import State
from app.auth.tenants import Tenants
from app.channels.disconnects import Disconnects
from app.channels.fallback import LocalPlacement
from app.channels.observer import ObservedRegions, ObservedTenants, Observer
from app.channels.placer import Placer
from app.channels.service import Channels
from app.dashboard.counters import ChannelCounter
from app.dashboard.fleet_watch import FleetWatch
from app.dashboard.history import History
from app.errors import GatewayError, StoreUnavailable
from app.events.feed import EventFeed
from app.logs import configure_logging, logger
from app.regions.choice import RegionChooser
from app.regions.geoip import CountryByIp
from app.regions.table import Point, Region, RegionTable
from app.registration.service import Registration
from app.registration.static_sfus import StaticSfus
from app.registry.availability import StoreSwitch
from app.registry.client import close_store, connect, drop_connections
from app.registry.fleet_reader import FleetReader
from app.registry.registry import Registry
from app.registry.schema_version import SCHEMA_EXIT_CODE, SchemaRefused, SchemaWatch
from app.registry.scripts import RedisClient
from app.registry.snapshot import Snapshot
from app.settings.loader import SETTINGS_EXIT_CODE, SettingsError, load_serving_settings
from app.settings.model import Settings
from app.telemetry.fleet_gauges import FleetGauges, Limits
from app.telemetry.metrics import Metrics
from app.telemetry.tracing import TracedObserver, TraceRequests, Tracing, check_extra, tracing_of
from app.upstream.addresses import AddressGuard
from app.upstream.client import Forwarder
from workers.sweeper import Sweeper, patience_of

log = logger(__name__)

MAX_BODY_BYTES: Final = 64 * 1024

_PACKED: Final = [Middleware(GZipMiddleware, compresslevel=1)]

ROUTES: Final = (
    Route("/v1/channel", channel.create_channel, methods=["GET"]),
    Route("/r/{region}/v1/channel", channel.create_channel, methods=["GET"]),
    Route("/v1/sfu", sfu.take_heartbeat, methods=["POST"]),
    Route("/v1/disconnect", disconnect.disconnect, methods=["POST"]),
    Route("/v1/events", events.events, methods=["GET"]),
    Route("/v1/admin/explain", admin.explain, methods=["GET"]),
    Route("/v1/admin/sfus/drain", admin.drain, methods=["POST"]),
    Route("/v1/admin/sfus/resume", admin.resume, methods=["POST"]),
    Route("/v1/admin/sfus/forget", admin.forget, methods=["POST"]),
    Route("/v1/health", health.health, methods=["GET"]),
    Route("/v1/dashboard/data", dashboard.data, methods=["GET"], middleware=_PACKED),
    Route("/v1/dashboard/history", dashboard.history, methods=["GET"]),
    Route("/dashboard", dashboard.dashboard, methods=["GET"]),
    Route("/dashboard/", dashboard.dashboard, methods=["GET"]),
    Route("/dashboard/{name}", dashboard.asset, methods=["GET"]),
    Route("/noop", health.noop, methods=["GET"]),
    Route("/v1/noop", health.sfu_noop, methods=["GET"]),
    Route("/livez", health.livez, methods=["GET"]),
    Route("/readyz", health.readyz, methods=["GET"]),
    Route("/metrics", metrics.metrics, methods=["GET"]),
    Route("/openapi.json", openapi.openapi, methods=["GET"]),
)


def create_app(settings: Settings | None = None, *, store: RedisClient | None = None) -> Starlette:
    """Build one replica from `settings`; without them, from the environment (`uvicorn --factory`).

    A `store` that is handed in stays the caller's to close, and its sweeper the caller's to run. Wrong
    settings from the environment end the process with exit code 3.
    """
    checked = _settings_or_exit() if settings is None else settings
    told, counter, tracing = Metrics(), ChannelCounter(), tracing_of(checked.tracing)
    capacity = Capacity(checked.max_concurrent_requests, told.refused_early)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[State]:
        async with AsyncExitStack() as stack:
            yield await _open(app, stack, checked, store, told, counter, capacity, tracing)

    app = Starlette(
        routes=ROUTES,
        middleware=[
            *([Middleware(TraceRequests, tracing=tracing)] if tracing else []),
            Middleware(RequestLog, observers=(told, counter)),
            Middleware(BodyLimit, max_bytes=MAX_BODY_BYTES),
            Middleware(Admission, capacity=capacity),
        ],
        exception_handlers={
            GatewayError: render_gateway_error,
            HTTPException: render_http_exception,
            ClientDisconnect: render_disconnect,
            Exception: render_unexpected,
        },
        lifespan=lifespan,
    )
    app.state.before_stop = []  # called when the server is told to end, while it still serves
    return app


async def _open(
    app: Starlette,
    stack: AsyncExitStack,
    settings: Settings,
    store: RedisClient | None,
    told: Metrics,
    counter: ChannelCounter,
    capacity: Capacity,
    tracing: Tracing | None,
) -> State:
    """Open this replica's resources in the order they need each other; `stack` closes them in reverse."""
    for warning in settings.warnings():
        log.warning("setting", detail=warning)
    client = connect(settings.redis) if store is None else store
    if store is None:
        stack.push_async_callback(close_store, client)
    registry = Registry.from_settings(client, settings)
    await _claim_schema(stack, registry, ends_process=store is None)
    guard = AddressGuard(settings.allowed_addresses, allow_link_local=settings.registration.allow_link_local)
    forwarder = await stack.enter_async_context(Forwarder(guard))
    switch, placer = _placing(client, registry, settings, told)
    await stack.enter_async_context(switch.running())
    await stack.enter_async_context(_static_sfus(registry, forwarder, settings).kept_registered())
    if store is None and settings.redis.url is None:
        log.warning("embedded_store", detail="no redis.url: one replica only, nothing outlives it")
        await stack.enter_async_context(
            Sweeper(registry, forwarder, patience_s=patience_of(settings)).running()
        )
    feed = EventFeed(registry)
    app.state.before_stop.append(feed.close)
    await stack.enter_async_context(feed.running())
    history, gauges = History(), FleetGauges(told, registry, Limits.from_settings(settings))
    reader = FleetReader(registry.fleet_pages, (history, gauges))
    await stack.enter_async_context(reader.running())
    watch = FleetWatch(reader.fleet, lambda: switch.uses_registry, dashboard.render_sfus)
    observer: Observer = told
    if tracing is not None:
        stack.push_async_callback(asyncio.to_thread, tracing.close)
        observer = TracedObserver(told, tracing)
    tenants = Tenants.from_settings(settings, time.time)
    return State(
        settings=settings,
        registry=registry,
        registration=Registration(registry, settings, guard, switch),
        guard=guard,
        tenants=ObservedTenants(tenants, observer),
        regions=ObservedRegions(_region_chooser(stack, settings, switch, registry), observer),
        channels=Channels(placer, forwarder, settings.failover, observer=observer),
        disconnects=Disconnects(tenants, registry, forwarder, timeout_s=settings.failover.deadline_ms / 1000),
        feed=feed,
        switch=switch,
        watch=watch,
        history=history,
        counter=counter,
        capacity=capacity,
        metrics=told,
        description=openapi_json(ROUTES),
    )


async def _claim_schema(stack: AsyncExitStack, registry: Registry, *, ends_process: bool) -> None:
    """Raise `SchemaRefused` where the data in Redis is not for this version.

    A server makes an exit code of its own of what a lifespan raises; ours comes from the loop.
    """
    try:
        await stack.enter_async_context(SchemaWatch(registry.claim_schema).running())
    except SchemaRefused:
        if ends_process:
            stack.callback(asyncio.get_running_loop().call_soon, sys.exit, SCHEMA_EXIT_CODE)
        raise


def _placing(
    client: RedisClient, registry: Registry, settings: Settings, told: Metrics
) -> tuple[StoreSwitch, Placer]:
    """What places channels by the registry, or without it."""

    async def on_return() -> None:
        await placer.tell_learned()

    patient = registry.patient()

    async def read() -> Snapshot:
        try:
            return await (registry if switch.uses_registry else patient).snapshot(switch.snapshot)
        except StoreUnavailable:
            await drop_connections(client)
            raise

    switch = StoreSwitch(
        read,
        heartbeat_interval_s=settings.next_ping_ms / 1000,
        on_return=on_return,
        answered_at=lambda: registry.answered_at,
        on_failure=told.store_failed,
    )
    told.snapshot_mode.set_function(lambda: float(not switch.uses_registry))
    placer = Placer(registry, LocalPlacement(lambda: switch.snapshot), switch)
    return switch, placer


def _static_sfus(registry: Registry, forwarder: Forwarder, settings: Settings) -> StaticSfus:
    return StaticSfus(
        registry,
        forwarder,
        settings.static_sfus,
        interval_s=settings.next_ping_ms / 1000,
        default_max_sessions=settings.balancing.max_sessions,
    )


def _region_chooser(
    stack: AsyncExitStack, settings: Settings, switch: StoreSwitch, registry: Registry
) -> RegionChooser:
    country_by_ip = None
    if settings.geoip.database is not None:
        country_by_ip = CountryByIp.open(settings.geoip.database)
        stack.callback(country_by_ip.close)
    extra = (Region(place.name, Point(place.latitude, place.longitude)) for place in settings.region)
    table = RegionTable.load(extra)
    return RegionChooser(
        table,
        settings.balancing.region_fallback,
        lambda: switch.snapshot.regions,
        registry.has_region,
        country_by_ip,
    )


def _settings_or_exit() -> Settings:
    try:
        settings = load_serving_settings()
        check_extra(settings.tracing)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(SETTINGS_EXIT_CODE) from None
    configure_logging(settings.log.level, settings.log.format)
    return settings
