"""The application of one replica: routes, middleware and handlers as lists, resources in the lifespan."""

import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route

from app.addresses import AddressGuard
from app.channels import Channels
from app.endpoints import channel, health, sfu
from app.errors import GatewayError
from app.fleet_view import FleetView
from app.forwarding import Forwarder
from app.load_settings import SETTINGS_EXIT_CODE, SettingsError, load_serving_settings
from app.logs import logger
from app.middleware import RequestLog
from app.problems import render_gateway_error, render_http_exception, render_unexpected
from app.region_choice import RegionChooser
from app.regions import CountryByIp, Point, Region, RegionTable
from app.registration import Registration
from app.registry import Registry
from app.scripts import RedisClient
from app.settings import Settings
from app.state import State
from app.static_sfus import StaticSfus
from app.store import close_store, connect
from app.tenants import Tenants
from workers.sweeper import Sweeper

log = logger(__name__)

MAX_BODY_BYTES: Final = 64 * 1024

_ROUTES: Final = (
    Route("/v1/channel", channel.create_channel, methods=["GET"]),
    Route("/r/{region}/v1/channel", channel.create_channel, methods=["GET"]),
    Route("/v1/sfu", sfu.take_heartbeat, methods=["POST"]),
    Route("/v1/health", health.health, methods=["GET"]),
    Route("/noop", health.noop, methods=["GET"]),
    Route("/v1/noop", health.sfu_noop, methods=["GET"]),
    Route("/livez", health.livez, methods=["GET"]),
    Route("/readyz", health.readyz, methods=["GET"]),
)


def create_app(settings: Settings | None = None, *, store: RedisClient | None = None) -> Starlette:
    """Build one replica from `settings`; without them, from the environment (`uvicorn --factory`).

    A `store` that is handed in stays the caller's to close, and its sweeper the caller's to run. Wrong
    settings from the environment end the process with exit code 3.
    """
    checked = _settings_or_exit() if settings is None else settings

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[State]:
        async with AsyncExitStack() as stack:
            yield await _open(stack, checked, store)

    return Starlette(
        routes=_ROUTES,
        middleware=[Middleware(RequestLog)],
        exception_handlers={
            GatewayError: render_gateway_error,
            HTTPException: render_http_exception,
            Exception: render_unexpected,
        },
        lifespan=lifespan,
        max_body_size=MAX_BODY_BYTES,
    )


async def _open(stack: AsyncExitStack, settings: Settings, store: RedisClient | None) -> State:
    """Open this replica's resources in the order they need each other; `stack` closes them in reverse."""
    for warning in settings.warnings():
        log.warning("setting", detail=warning)
    client = connect(settings.redis) if store is None else store
    if store is None:
        stack.push_async_callback(close_store, client)
    registry = Registry.from_settings(client, settings)
    guard = AddressGuard(settings.registration.allow, allow_link_local=settings.registration.allow_link_local)
    forwarder = await stack.enter_async_context(Forwarder(guard))
    fleet = FleetView(registry)
    await stack.enter_async_context(fleet.kept_fresh())
    await stack.enter_async_context(_static_sfus(registry, forwarder, settings).kept_registered())
    if store is None and settings.redis.url is None:
        log.warning("embedded_store", detail="no redis.url: one replica only, nothing outlives it")
        await stack.enter_async_context(Sweeper(registry, forwarder).running())
    return State(
        settings=settings,
        registry=registry,
        registration=Registration(registry, settings, guard),
        guard=guard,
        tenants=Tenants.from_settings(settings, time.time),
        regions=_region_chooser(stack, settings, fleet, registry),
        channels=Channels(registry, forwarder, settings.failover),
        fleet=fleet,
    )


def _static_sfus(registry: Registry, forwarder: Forwarder, settings: Settings) -> StaticSfus:
    return StaticSfus(
        registry,
        forwarder,
        settings.static_sfus,
        interval_s=settings.next_ping_ms / 1000,
        default_max_sessions=settings.balancing.max_sessions,
    )


def _region_chooser(
    stack: AsyncExitStack, settings: Settings, fleet: FleetView, registry: Registry
) -> RegionChooser:
    country_by_ip = None
    if settings.geoip.database is not None:
        country_by_ip = CountryByIp.open(settings.geoip.database)
        stack.callback(country_by_ip.close)
    extra = (Region(place.name, Point(place.latitude, place.longitude)) for place in settings.region)
    table = RegionTable.load(extra)
    return RegionChooser(
        table, settings.balancing.region_fallback, fleet.regions, registry.has_region, country_by_ip
    )


def _settings_or_exit() -> Settings:
    try:
        return load_serving_settings()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(SETTINGS_EXIT_CODE) from None
