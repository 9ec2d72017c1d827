"""The application of one replica: `create_app(settings)`."""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect

from app.api.budgets import Budgets
from app.api.middleware.body_limit import MAX_BODY_BYTES, BodyLimit
from app.api.middleware.direct_routes import DirectRoutes
from app.api.middleware.inside_only import InsideOnly
from app.api.middleware.request_log import RequestLog
from app.api.middleware.trace_requests import TraceRequests
from app.api.problems import render_disconnect, render_gateway_error, render_http_exception, render_unexpected
from app.api.routes import DIRECT_ROUTES, ROUTES
from app.api.state import State
from app.dashboard.counters import ChannelCounter
from app.errors import SETTINGS_EXIT_CODE, GatewayError, SettingsError
from app.lifespan import check_optional_parts, open_resources
from app.logs import configure_logging
from app.registry.scripts import RedisClient
from app.settings.loader import load_serving_settings
from app.settings.model import Settings
from app.telemetry.metrics import Metrics
from app.telemetry.tracing import tracing_of


def create_app(settings: Settings | None = None, *, redis: RedisClient | None = None) -> Starlette:
    """Build one replica from `settings`; without them, from the environment (`uvicorn --factory`).

    A `redis` client that is handed in stays the caller's to close, and its sweeper the caller's to run. Wrong
    settings from the environment end the process with exit code 3.
    """
    checked = _settings_or_exit() if settings is None else settings
    check_optional_parts(checked)
    told, counter, tracing = Metrics(), ChannelCounter(), tracing_of(checked.tracing)
    budgets = Budgets(checked, told.shed, told.refused_early)
    told.watch(budgets.in_progress())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[State]:
        async with AsyncExitStack() as stack:
            yield await open_resources(app, stack, checked, redis, told, counter, budgets, tracing)

    app = Starlette(
        routes=ROUTES,
        middleware=[
            *([Middleware(TraceRequests, tracing=tracing)] if tracing else []),
            Middleware(RequestLog, observers=(told, counter)),
            Middleware(DirectRoutes, routes=DIRECT_ROUTES),
            Middleware(BodyLimit, max_bytes=MAX_BODY_BYTES),
            *([Middleware(InsideOnly, ops_port=checked.ops.port)] if checked.ops.port else []),
        ],
        exception_handlers={
            GatewayError: render_gateway_error,
            HTTPException: render_http_exception,
            ClientDisconnect: render_disconnect,
            Exception: render_unexpected,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a redirect would go wherever the caller's Host says
    app.state.before_stop = []  # called when the server is told to end, while it still serves
    return app


def _settings_or_exit() -> Settings:
    try:
        settings = load_serving_settings()
        check_optional_parts(settings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(SETTINGS_EXIT_CODE) from None
    configure_logging(settings.log.level, settings.log.format)
    return settings
