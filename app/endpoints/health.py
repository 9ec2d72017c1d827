"""`GET /v1/health`, and the probes of load balancers and Kubernetes."""

from collections.abc import Sequence
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.errors import StoreUnavailable
from app.problems import problem_response
from app.registry import SfuStatus
from app.state import State

_EXPECTED_LOSSES = frozenset({"signed-off", "forgotten"})


async def health(request: Request[State]) -> Response:
    """Show every SFU: 200 while at least one is selectable, else 503."""
    fleet = request.state["fleet"]
    try:
        sfus = await fleet.refresh()
    except StoreUnavailable:
        sfus = fleet.sfus
    selectable = sum(sfu.standing == "selectable" for sfu in sfus) if fleet.is_current else 0
    document = {
        "status": _overall(sfus, selectable),
        "mode": "registry" if fleet.is_current else "snapshot",
        "selectable": selectable,
        "sfus": [_shown(sfu) for sfu in sfus],
    }
    return JSONResponse(document, status_code=200 if selectable else 503)


async def noop(_: Request[State]) -> Response:
    """Answer as the predecessor does."""
    return JSONResponse({"status": "ok"})


async def sfu_noop(_: Request[State]) -> Response:
    """Answer as an SFU does."""
    return JSONResponse({"result": "ok"})


async def livez(_: Request[State]) -> Response:
    """The process is alive. Never depends on Redis: restarting a replica does not mend a store."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request[State]) -> Response:
    """Whether this replica can do its work: the registry answers."""
    try:
        await request.state["registry"].ping()
    except StoreUnavailable as error:
        return problem_response(503, error.code, error.title, error.detail, {"Retry-After": "1"})
    return JSONResponse({"status": "ok", "mode": "registry"})


def _overall(sfus: Sequence[SfuStatus], selectable: int) -> Literal["ok", "degraded", "down"]:
    if selectable == 0:
        return "down"
    return "ok" if all(_is_well(sfu) for sfu in sfus) else "degraded"


def _is_well(sfu: SfuStatus) -> bool:
    if sfu.state == "down":
        return sfu.down_reason in _EXPECTED_LOSSES
    return sfu.state in ("up", "draining") and sfu.breaker == "closed"


def _shown(sfu: SfuStatus) -> dict[str, Any]:
    return {
        "address": sfu.address,
        "region": sfu.region,
        "status": "down" if sfu.state == "failed" else sfu.state,
        "breaker": sfu.breaker,
        "load": round(sfu.load, 4),
        "channels": sfu.channels,
        "sessions": sfu.sessions,
        "maxSessions": sfu.max_sessions,
        "reserved": round(sfu.reserved, 2),
        "cpuUsage": sfu.cpu,
        "memoryUsage": sfu.memory,
        "heartbeatAgeMs": sfu.heartbeat_age_ms,
    }
