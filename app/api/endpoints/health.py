"""`GET /v1/health`, and the probes of load balancers and Kubernetes."""

from collections.abc import Sequence
from typing import Any, Literal, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api.endpoints.dashboard import page_response
from app.api.schemas import Moves
from app.api.state import State
from app.errors import RegistryUnavailable
from app.registry.availability import RegistryAvailability
from app.registry.sfus import SfuStatus
from app.registry.sfus import State as SfuState
from app.registry.snapshot import SnapshotNode

_NEGOTIABLE = frozenset({"text/html", "application/json", "*/*"})
_EXPECTED_LOSSES = frozenset({"signed-off", "forgotten"})


async def health(request: Request[State]) -> Response:
    """Show every SFU: 200 while at least one is selectable, else 503. Browsers get the dashboard."""
    if _prefers_html(request.headers.get("accept", "")):
        return page_response(root="../")
    switch = request.state["switch"]
    with request.state["budgets"].readers:
        sfus = await _fleet(request.state)
    selectable = sum(sfu.is_selectable for sfu in sfus)
    document = {
        "status": _overall(sfus, selectable, is_sure=switch.uses_registry),
        "mode": _mode(switch),
        "selectable": selectable,
        "sfus": [_shown(sfu) for sfu in sfus],
    }
    return JSONResponse(document, status_code=200 if selectable else 503, headers={"Vary": "Accept"})


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
    """Whether this replica can place channels: by the registry, or by a snapshot of it."""
    switch = request.state["switch"]
    if not switch.uses_registry and not switch.snapshot.nodes:
        raise RegistryUnavailable("the registry does not answer, and this replica has not seen the fleet yet")
    return JSONResponse({"status": "ok", "mode": _mode(switch)})


def _prefers_html(accept: str) -> bool:
    """Whether the page is named before JSON and before `*/*`, as browsers do and programs do not."""
    names = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return next((name for name in names if name in _NEGOTIABLE), "") == "text/html"


async def _fleet(state: State) -> list[SfuStatus]:
    """The fleet as the registry has it; while that is in doubt, as this replica last saw it."""
    switch = state["switch"]
    if switch.uses_registry:
        asked_at = switch.now()
        try:
            return await state["registry"].fleet()
        except RegistryUnavailable as error:
            switch.trip(error, asked_at)
    return [_last_seen(node) for node in switch.snapshot.nodes]


def _last_seen(node: SnapshotNode) -> SfuStatus:
    return SfuStatus(
        address=node.address,
        region=node.region,
        state=cast("SfuState", node.state),
        breaker="closed",
        generation=node.generation,
        heartbeat_age_ms=0,
        tier="load" if node.is_selectable else "",
        sessions=round(node.sessions),
        max_sessions=round(node.max_sessions),
        load=node.load,
    )


def _mode(switch: RegistryAvailability) -> Literal["registry", "snapshot"]:
    return "registry" if switch.uses_registry else "snapshot"


def _overall(
    sfus: Sequence[SfuStatus], selectable: int, *, is_sure: bool
) -> Literal["ok", "degraded", "down"]:
    if selectable == 0:
        return "down"
    return "ok" if is_sure and all(_is_well(sfu) for sfu in sfus) else "degraded"


def _is_well(sfu: SfuStatus) -> bool:
    if sfu.state == "down":
        return sfu.down_reason in _EXPECTED_LOSSES
    return sfu.status in ("up", "draining") and sfu.breaker == "closed"


def _shown(sfu: SfuStatus) -> dict[str, Any]:
    moves = Moves.of(sfu)
    return {
        "address": sfu.address,
        "region": sfu.region,
        "status": "down" if sfu.status == "failed" else sfu.status,
        "breaker": sfu.breaker,
        "load": round(sfu.load, 4),
        "channels": sfu.channels,
        "sessions": sfu.sessions,
        "maxSessions": sfu.max_sessions,
        "reserved": round(sfu.reserved, 2),
        "cpuUsage": sfu.cpu,
        "memoryUsage": sfu.memory,
        "heartbeatAgeMs": sfu.heartbeat_age_ms,
        **({"moves": moves.model_dump()} if moves else {}),
    }
