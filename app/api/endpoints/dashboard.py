"""`GET /dashboard`: the operators' page, its files and its data."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from app import __version__
from app.api.endpoints.admin import authorize_viewer
from app.api.schemas import Moves
from app.api.state import State
from app.dashboard.counters import CREATED, ChannelCounter
from app.dashboard.files import CONTENT_SECURITY_POLICY, assets, page
from app.dashboard.history import STEP_S
from app.dashboard.runbooks import section
from app.errors import InvalidField
from app.registry.capacity import Limits
from app.registry.sfus import SfuStatus

_PAGE_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept",
    "X-Content-Type-Options": "nosniff",
}


async def dashboard(request: Request[State]) -> Response:
    """Answer with the page."""
    return page_response(root="../" if request.url.path.endswith("/") else "./")


def page_response(root: str) -> Response:
    """Return the page for a URL from which `root` leads to the gateway's base."""
    return HTMLResponse(page(root), headers=_PAGE_HEADERS)


async def asset(request: Request[State]) -> Response:
    """Answer with one of the page's files; 304 when the browser has it already."""
    found = assets().get(request.path_params["name"])
    if found is None:
        raise HTTPException(404)
    headers = {"Cache-Control": "no-cache", "ETag": found.etag, "X-Content-Type-Options": "nosniff"}
    if request.headers.get("if-none-match") == found.etag:
        return Response(status_code=304, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)


async def runbook(request: Request[State]) -> Response:
    """Answer with what to do about one trouble, as plain text."""
    return PlainTextResponse(section(request.path_params["name"]), headers=_PAGE_HEADERS)


async def data(request: Request[State]) -> Response:
    """Show all that the page shows of the fleet and of this replica. Nothing in it is secret."""
    authorize_viewer(request)
    state = request.state
    settings, switch = state["settings"], state["switch"]
    with state["budgets"].readers:
        seen = await state["watch"].look()
    head = _json(
        {
            "version": __version__,
            "at": round(time.time() * 1000),
            "mode": switch.mode,
            "snapshotSize": len(switch.snapshot.nodes),
            "fleetAgeMs": seen.age_ms,
            "admin": settings.admin_token is not None,
            "registration": settings.registration.auth == "none" or bool(settings.registration.key),
            "rescue": settings.has_rescue,
            "limits": {
                "maxLoad": settings.overload.max_load,
                "maxCpu": settings.overload.max_cpu,
                "maxMemory": settings.overload.max_memory,
                "failureThreshold": settings.breaker.failure_threshold,
                "pingMs": settings.next_ping_ms,
                "unhealthyMs": round(settings.health.unhealthy_threshold * 1000),
                "lostMs": settings.health.lost_ttl_s * 1000,
            },
            "traffic": _traffic(state["counter"]),
        }
    )
    document = head[:-1] + b',"sfus":' + seen.rendered + b"}"
    return Response(document, media_type="application/json", headers={"Cache-Control": "no-store"})


def render_sfus(sfus: Sequence[SfuStatus], limits: Limits) -> bytes:
    """Return the list of SFUs as JSON."""
    one_by_one = (_json(_shown(sfu, limits)) for sfu in sfus)  # ten thousand documents at once are a lot
    return b"[" + b",".join(one_by_one) + b"]"


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


async def history(request: Request[State]) -> Response:
    """Show one SFU's last hour: `?address=`."""
    authorize_viewer(request)
    address = request.query_params.get("address")
    if not address:
        raise InvalidField("address", "is required")
    series = request.state["history"].of(address)
    return JSONResponse(
        {"address": address, "stepMs": STEP_S * 1000, **asdict(series)}, headers={"Cache-Control": "no-store"}
    )


def _traffic(counter: ChannelCounter) -> dict[str, Any]:
    minute, hour = counter.last_minute(), counter.last_hour()
    refusals = {code: count for code, count in hour.most_common() if code != CREATED}
    return {
        "channelsLastMinute": minute[CREATED],
        "channelsByMinute": counter.created_by_minute(),
        "refusalsLastMinute": minute.total() - minute[CREATED],
        "refusalsLastHour": refusals,
    }


def _shown(sfu: SfuStatus, limits: Limits) -> dict[str, Any]:
    claimed = sfu.sessions + sfu.reserved
    reserved_load = sfu.sessions_term * sfu.reserved / claimed if claimed else 0.0
    moves = Moves.of(sfu)
    return {
        "address": sfu.address,
        "region": sfu.region,
        "status": sfu.status,
        "state": sfu.state,
        "reason": sfu.reason,
        "load": round(sfu.load, 4),
        "reservedLoad": round(reserved_load, 4),
        "terms": [round(term, 4) for term in (sfu.sessions_term, sfu.cpu_term, sfu.memory_term)],
        "channels": sfu.channels,
        "sessions": sfu.sessions,
        "maxSessions": sfu.max_sessions,
        "reserved": round(sfu.reserved, 1),
        "headroom": round(limits.headroom(sfu)),
        "cpu": round(sfu.cpu, 3),
        "memory": round(sfu.memory, 3),
        "heartbeatAgeMs": sfu.heartbeat_age_ms,
        "failures": sfu.failures,
        "ejections": sfu.ejections,
        "ejectedForMs": sfu.ejected_for_ms,
        "errors": sfu.errors,
        "lastError": sfu.last_error,
        "lastErrorAgoMs": max(0, sfu.at - sfu.last_error_at),
        "sharedAddress": sfu.is_shared,
        "drainUntil": sfu.drain_until,
        "moves": None if moves is None else moves.model_dump(),
        "downAt": sfu.down_at,
        "registeredAt": sfu.registered_at,
        "publicUrl": sfu.public_url,
    }
