"""`GET /v1/health`, and the probes of load balancers and Kubernetes."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from app.api.endpoints.admin import authorize_viewer
from app.api.endpoints.dashboard import page_response
from app.api.health_report import mode_of
from app.api.negotiation import wanted
from app.api.responses import respond
from app.api.schemas import Ready, ResultOk, StatusOk
from app.api.state import State
from app.errors import RegistryUnavailable

_NEGOTIABLE = frozenset({"text/html", "application/json", "*/*"})


async def health(request: Request[State]) -> Response:
    """Show every SFU: 200 while at least one is selectable, else 503. Browsers get the dashboard."""
    if _prefers_html(wanted(request.headers.getlist("accept"))):
        return page_response(root="../")
    authorize_viewer(request)
    with request.state["budgets"].readers:
        report = (await request.state["health"].look()).rendered
    headers = {"Vary": "Accept"}
    return Response(report.body, report.status_code, headers, media_type="application/json")


async def diagnosis(request: Request[State]) -> Response:
    """Show what is wrong, the worst first; empty when nothing is."""
    authorize_viewer(request)
    with request.state["budgets"].readers:
        return respond(await request.state["diagnosis"].look())


async def noop(_: Request[State]) -> Response:
    """Answer as the predecessor does."""
    return respond(StatusOk(status="ok"))


async def sfu_noop(_: Request[State]) -> Response:
    """Answer as an SFU does."""
    return respond(ResultOk(result="ok"))


async def livez(_: Request[State]) -> Response:
    """The process is alive. Never depends on Redis: restarting a replica does not mend Redis."""
    return respond(StatusOk(status="ok"))


async def readyz(request: Request[State]) -> Response:
    """Whether this replica can place channels: by the registry, or by a snapshot of it."""
    switch = request.state["switch"]
    if not switch.uses_registry and not switch.snapshot.nodes:
        raise RegistryUnavailable(f"{switch.reason}; this replica has not seen the fleet yet")
    return respond(Ready(status="ok", mode=mode_of(switch)))


def _prefers_html(names: Sequence[str]) -> bool:
    """Whether the page is named before JSON and before `*/*`, as browsers do and programs do not."""
    return next((name for name in names if name in _NEGOTIABLE), "") == "text/html"
