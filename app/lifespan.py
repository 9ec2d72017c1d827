"""The resources of one replica, opened in the order in which they need each other."""

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from starlette.applications import Starlette

from app.api.budgets import Budgets
from app.api.diagnosis_report import DiagnosisReport
from app.api.endpoints import dashboard
from app.api.failed_logins import FailedLogins
from app.api.health_report import health_view
from app.api.openapi import Description
from app.api.routes import ROUTES
from app.api.state import State
from app.auth.tenants import Tenants
from app.channels.call_memory import CallMemory, ConfirmationFollower
from app.channels.disconnects import Disconnects
from app.channels.fallback import SnapshotPlacer
from app.channels.observer import Observer
from app.channels.placer import Placer
from app.channels.service import Channels
from app.channels.setup_watch import SetupWatch
from app.dashboard.counters import ChannelCounter
from app.dashboard.fleet_watch import FleetView
from app.dashboard.history import History
from app.errors import SETTINGS_EXIT_CODE, RegistryUnavailable, SettingsError
from app.events.feed import EventFeed
from app.logs import logger
from app.regions.choice import RegionChooser
from app.regions.geoip import CountryByIp
from app.regions.table import Point, Region, RegionTable
from app.registration.service import Registration
from app.registration.static_sfus import StaticSfus, static_reports
from app.registry.availability import RegistryAvailability
from app.registry.capacity import Limits
from app.registry.client import close_client, connect
from app.registry.examination import Patient
from app.registry.fleet_reader import FleetPage, FleetReader
from app.registry.known_fleet import KnownFleet
from app.registry.registry import Registry
from app.registry.schema_version import SchemaRefused, SchemaWatch
from app.registry.scripts import RedisClient
from app.registry.snapshot import Snapshot
from app.rescue.service import Rescue
from app.settings.model import Settings
from app.sweeper import Sweeper
from app.telemetry.fleet_gauges import FleetGauges
from app.telemetry.metrics import Metrics
from app.telemetry.tracing import TracedObserver, Tracing, check_extra
from app.upstream.client import Forwarder

log = logger(__name__)

_FAST_PINGS: Final = 8
"""In a row, before a replica goes back to a Redis that was away. Where every second call is too slow, one row in 256
passes: a replica that goes back while others do not places new issuers elsewhere than they do.
"""


def check_optional_parts(settings: Settings) -> None:
    """Raise `SettingsError` when a setting needs an extra or a file that is missing or unfit."""
    check_extra(settings.tracing)
    if settings.geoip.database is not None:
        try:
            CountryByIp.open(settings.geoip.database).close()
        except ValueError as error:
            raise SettingsError(str(error)) from None


async def open_resources(
    app: Starlette,
    stack: AsyncExitStack,
    settings: Settings,
    redis: RedisClient | None,
    told: Metrics,
    counter: ChannelCounter,
    budgets: Budgets,
    tracing: Tracing | None,
) -> State:
    """Open this replica's resources in the order they need each other; `stack` closes them in reverse."""
    for warning in settings.warnings():
        log.warning("setting", detail=warning)
    client = connect(settings.redis) if redis is None else redis
    if redis is None:
        stack.push_async_callback(close_client, client)
    registry = Registry.from_settings(client, settings)
    await _claim_schema(stack, registry, ends_process=redis is None)
    guard = settings.address_guard()
    forwarder = await stack.enter_async_context(Forwarder(guard))
    watch_setup = SetupWatch(forwarder, registry.fleet.note_setup)
    stack.push_async_callback(watch_setup.close)
    switch, reader, placer, follower = _placing(client, registry, settings, told)
    await stack.enter_async_context(switch.running())
    await stack.enter_async_context(follower.running())
    await stack.enter_async_context(placer.running())
    await stack.enter_async_context(_static_sfus(registry, forwarder, settings).kept_registered())
    if redis is None and settings.redis.url is None:
        log.warning("embedded_client", detail="no redis.url: one replica only, nothing outlives it")
        rescue = Rescue.from_settings(settings, registry, forwarder)
        await stack.enter_async_context(Sweeper(registry, forwarder, rescue=rescue).running())
    feed = EventFeed(registry, settings.limits.max_replayed_events)
    app.state.before_stop.append(feed.close)
    await stack.enter_async_context(feed.running())
    limits = Limits.from_settings(settings)
    history, gauges = History(), FleetGauges(told, registry, limits)
    fleet = KnownFleet(switch, reader, (history, gauges))
    await stack.enter_async_context(fleet.running())
    render = partial(dashboard.render_sfus, limits=limits)
    watch = FleetView(fleet.read, lambda: switch.uses_registry, render)
    observer: Observer = told
    if tracing is not None:
        stack.push_async_callback(asyncio.to_thread, tracing.close)
        observer = TracedObserver(told, tracing)
    tenants = Tenants.from_settings(settings, time.time)
    regions = _region_chooser(stack, settings, switch, registry)
    channels = await stack.enter_async_context(
        Channels(
            placer,
            forwarder,
            settings.failover,
            regions,
            observer=observer,
            on_created=watch_setup.created,
        )
    )
    return State(
        settings=settings,
        registry=registry,
        registration=Registration(registry, settings, guard, switch, forwarder),
        guard=guard,
        tenants=tenants,
        regions=regions,
        observer=observer,
        channels=channels,
        disconnects=Disconnects(tenants, registry, forwarder, timeout_s=settings.failover.deadline_ms / 1000),
        feed=feed,
        switch=switch,
        watch=watch,
        health=health_view(fleet, switch, tenants.regions),
        diagnosis=DiagnosisReport(fleet, switch, Patient(client, registry, settings), counter),
        fleet=fleet,
        history=history,
        counter=counter,
        budgets=budgets,
        failed_logins=FailedLogins(
            settings.limits.failed_logins_per_minute, settings.limits.failed_logins_burst, told.login_failed
        ),
        metrics=told,
        description=Description(ROUTES),
    )


async def _claim_schema(stack: AsyncExitStack, registry: Registry, *, ends_process: bool) -> None:
    """Raise `SchemaRefused` where the data in Redis is not for this version.

    A server makes an exit code of its own of what a lifespan raises; ours comes from the loop.
    """
    try:
        await stack.enter_async_context(SchemaWatch(registry.claim_schema).running())
    except SchemaRefused:
        if ends_process:
            stack.callback(asyncio.get_running_loop().call_soon, sys.exit, SETTINGS_EXIT_CODE)
        raise


def _placing(
    client: RedisClient, registry: Registry, settings: Settings, told: Metrics
) -> tuple[RegistryAvailability, FleetReader, Placer, ConfirmationFollower]:
    """What places channels by the registry, or without it."""

    async def on_return() -> None:
        await placer.flush_offline()

    patient = registry.patient()

    async def page(after: str, count: int, after_event: str, besides: Sequence[str]) -> FleetPage:
        asked = registry if switch.uses_registry else patient
        return await asked.fleet.page(after, count, after_event, besides)

    reader = FleetReader(page)

    async def read() -> Snapshot:
        is_away = not switch.uses_registry
        try:
            snapshot = await reader.read(is_full=is_away)
            if is_away:  # patient calls found Redis; these say whether it is fast enough for requests
                for _ in range(_FAST_PINGS):
                    await registry.ping()
        except RegistryUnavailable:
            for each in (registry, patient):
                await each.drop_connections()
            raise
        else:
            return snapshot

    async def on_snapshot() -> None:
        await local.prepare()

    statics = static_reports(settings.static_sfus, settings.balancing.max_sessions)
    switch = RegistryAvailability(
        read,
        grace_s=settings.health.unhealthy_threshold,
        on_return=on_return,
        answered_at=lambda: registry.answered_at,
        slow_at=lambda: registry.slow_at,
        on_failure=told.redis_failed,
        on_snapshot=on_snapshot,
        initial=registry.fleet.of_static(statics),
    )
    told.snapshot_mode.set_function(lambda: float(not switch.uses_registry))
    memory = CallMemory(switch.redis_ms, ttl_ms=settings.affinity.ttl * 1000)
    local = SnapshotPlacer(lambda: switch.snapshot, memory=memory)
    placer = Placer(registry, local, switch, timeout_s=settings.redis.timeout_ms / 1000, patient=patient)
    return switch, reader, placer, ConfirmationFollower(memory, patient)


def _static_sfus(registry: Registry, forwarder: Forwarder, settings: Settings) -> StaticSfus:
    return StaticSfus(
        registry,
        forwarder,
        settings.static_sfus,
        interval_s=settings.next_ping_ms / 1000,
        default_max_sessions=settings.balancing.max_sessions,
    )


def _region_chooser(
    stack: AsyncExitStack, settings: Settings, switch: RegistryAvailability, registry: Registry
) -> RegionChooser:
    country_by_ip = None
    if settings.geoip.database is not None:
        country_by_ip = CountryByIp.open(settings.geoip.database)
        stack.callback(country_by_ip.close)
    extra = (Region(place.name, Point(place.latitude, place.longitude)) for place in settings.region)
    table = RegionTable.load(extra)

    async def has_region(name: str) -> bool:
        return switch.uses_registry and await switch.call(registry.has_region(name))

    return RegionChooser(
        table,
        settings.balancing.region_fallback,
        lambda: switch.snapshot.regions,
        has_region,
        country_by_ip,
    )
