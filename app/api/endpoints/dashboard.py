"""`GET /dashboard`: the operators' page, its files and its data."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from app import __version__
from app.api.dashboard_schemas import PageData, PageHistory, PageLimits, PageSfu, PageTraffic
from app.api.endpoints.admin import authorize_viewer
from app.api.negotiation import wanted
from app.api.state import State
from app.dashboard.files import CONTENT_SECURITY_POLICY, assets, page
from app.dashboard.history import STEP_S
from app.dashboard.packed import PackedBeginning
from app.dashboard.runbooks import section
from app.errors import InvalidField
from app.registry.capacity import Limits
from app.registry.sfus import SfuStatus

_NO_STORE: Final = {"Cache-Control": "no-store"}
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
    head = PageData(
        version=__version__,
        at=round(time.time() * 1000),
        mode=switch.mode,
        snapshot_size=len(switch.snapshot.nodes),
        fleet_age_ms=seen.age_ms,
        admin=settings.admin_token is not None,
        registration=settings.registration.auth == "none" or bool(settings.registration.key),
        rescue=settings.has_rescue,
        limits=PageLimits.from_settings(settings),
        traffic=PageTraffic.of(state["counter"]),
    ).model_dump_json()
    rest = head.removeprefix("{").encode()
    headers = {**_NO_STORE, "Vary": "Accept-Encoding"}
    if "gzip" not in wanted(request.headers.getlist("accept-encoding")):
        return Response(seen.rendered.followed_by(rest), headers=headers, media_type="application/json")
    headers["Content-Encoding"] = "gzip"
    return Response(seen.rendered.packed_with(rest), headers=headers, media_type="application/json")


def render_sfus(sfus: Sequence[SfuStatus], limits: Limits) -> PackedBeginning:
    """Return the data of the page up to the list of SFUs, which is the same for all viewers."""
    one_by_one = (PageSfu.of(sfu, limits).model_dump_json() for sfu in sfus)  # 10,000 at once take memory
    return PackedBeginning(f'{{"sfus":[{",".join(one_by_one)}],'.encode())


async def history(request: Request[State]) -> Response:
    """Show one SFU's last hour: `?address=`."""
    authorize_viewer(request)
    address = request.query_params.get("address")
    if not address:
        raise InvalidField("address", "is required")
    series = request.state["history"].of(address)
    document = PageHistory(address=address, step_ms=STEP_S * 1000, **asdict(series))
    return Response(document.model_dump_json(), media_type="application/json", headers=_NO_STORE)
