"""Every route of the gateway, in the order in which they are matched."""

from collections.abc import Callable
from typing import Any, Final

from starlette.routing import Route

from app.api.endpoints import admin, channel, dashboard, disconnect, events, health, metrics, openapi, sfu


class _GetRoute(Route):
    """A route without `HEAD`: it creates something, or its answer has no end."""

    def __init__(self, path: str, endpoint: Callable[..., Any]) -> None:
        super().__init__(path, endpoint, methods=["GET"])
        self.methods = {"GET"}


DIRECT_ROUTES: Final = (
    _GetRoute("/v1/channel", channel.create_channel),
    Route("/v1/sfu", sfu.take_heartbeat, methods=["POST"]),
)
"""The routes with the most requests (`app.api.middleware.direct_routes`)."""

PUBLIC_ROUTES: Final = (
    *DIRECT_ROUTES,
    _GetRoute("/r/{region}/v1/channel", channel.create_channel),
    Route("/v1/disconnect", disconnect.disconnect, methods=["POST"]),
    Route("/noop", health.noop, methods=["GET"]),
    Route("/v1/noop", health.sfu_noop, methods=["GET"]),
    Route("/livez", health.livez, methods=["GET"]),
    Route("/readyz", health.readyz, methods=["GET"]),
)
"""What Odoo, SFUs and load balancers need."""

ROUTES: Final = (
    *PUBLIC_ROUTES,
    _GetRoute("/v1/events", events.events),
    Route("/v1/admin/explain", admin.explain, methods=["GET"]),
    Route("/v1/admin/sfus/drain", admin.drain, methods=["POST"]),
    Route("/v1/admin/sfus/resume", admin.resume, methods=["POST"]),
    Route("/v1/admin/sfus/reset", admin.reset, methods=["POST"]),
    Route("/v1/admin/sfus/forget", admin.forget, methods=["POST"]),
    Route("/v1/health", health.health, methods=["GET"]),
    Route("/v1/diagnosis", health.diagnosis, methods=["GET"]),
    Route("/v1/dashboard/data", dashboard.data, methods=["GET"]),
    Route("/v1/dashboard/history", dashboard.history, methods=["GET"]),
    Route("/dashboard", dashboard.dashboard, methods=["GET"]),
    Route("/dashboard/", dashboard.dashboard, methods=["GET"]),
    Route("/dashboard/runbooks/{name}", dashboard.runbook, methods=["GET"]),
    Route("/dashboard/{name}", dashboard.asset, methods=["GET"]),
    Route("/metrics", metrics.metrics, methods=["GET"]),
    Route("/openapi.json", openapi.openapi, methods=["GET"]),
)
