"""`/v1/admin/...`: operators explain placements and drain, resume, reset or forget SFUs."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.api.audit import Action, audit
from app.api.credentials import verify_admin
from app.api.request_context import client_of, note, request_id_of
from app.api.responses import respond
from app.api.schemas import Explanation, OrderDone
from app.api.state import State, expire_views
from app.errors import InvalidField, MalformedBody, Refused, TooManyFailures
from app.registry.placements import CallId, PlacementRequest
from app.upstream.addresses import parse_address

_LONGEST_DRAIN_MS = 30 * 24 * 3600 * 1000


def authorize(request: Request[State]) -> None:
    """Verify the admin token.

    Raises:
        RouteClosed: the operator has set none.
        CredentialsMissing, CredentialsInvalid, TooManyFailures: none was sent, or another one.
    """
    try:
        verify_admin(request)
    except TooManyFailures:
        raise  # the first of these failures are in the audit log: a stranger must not fill it
    except Refused as error:
        audit(request, "admin_refused", code=error.code)
        raise


def authorize_viewer(request: Request[State]) -> None:
    """Let pass who may see the fleet: everybody, or who has the admin token. Raises as `authorize`."""
    if not request.state["settings"].health.public:
        authorize(request)


async def explain(request: Request[State]) -> Response:
    """Show every candidate of a would-be placement: score, its terms, and why it would be passed over."""
    authorize(request)
    with request.state["budgets"].operators:
        return await _explained(request)


async def _explained(request: Request[State]) -> Response:
    state, query = request.state, request.query_params
    tenant = state["tenants"].named(query.get("tenant"))
    client = client_of(request.scope, state["settings"].trust_proxy)
    choice = await state["regions"].choose(
        tenant, client, region=query.get("region"), country=query.get("country"), path=None
    )
    explained = await state["registry"].fleet.explain(
        PlacementRequest(
            id=request_id_of(request.scope),
            call=CallId(tenant.name, query.get("issuer", "")),
            groups=choice.groups,
            allow=tenant.region_allow,
        )
    )
    return respond(Explanation.of(choice, explained))


async def drain(request: Request[State]) -> Response:
    """Let an SFU take no new channels: `{"address": ..., "deadlineMs": ..., "move": ...}`, the last two optional."""
    document = await _order(request)
    address = parse_address("address", document.get("address"))
    deadline_ms = document.get("deadlineMs", 0)
    if isinstance(deadline_ms, bool) or not isinstance(deadline_ms, int):
        raise InvalidField("deadlineMs", "must be a whole number of milliseconds")
    if not 0 <= deadline_ms <= _LONGEST_DRAIN_MS:
        raise InvalidField("deadlineMs", f"must be between 0 and {_LONGEST_DRAIN_MS}")
    move = document.get("move", False)
    if not isinstance(move, bool):
        raise InvalidField("move", "must be true or false")
    if move and not request.state["settings"].has_rescue:
        raise InvalidField(
            "move", "needs the gateway's [rescue] settings: no Odoo may be told (docs/rescue.md)"
        )
    with request.state["budgets"].operators:
        await request.state["registry"].fleet.drain(address, deadline_ms=deadline_ms, move=move)
    return _done(request, "drain", address)


async def resume(request: Request[State]) -> Response:
    """Take back a drain: `{"address": ...}`."""
    address = parse_address("address", (await _order(request)).get("address"))
    with request.state["budgets"].operators:
        await request.state["registry"].fleet.resume(address)
    return _done(request, "resume", address)


async def reset(request: Request[State]) -> Response:
    """End an SFU's ejection and forget its failures: `{"address": ...}`."""
    address = parse_address("address", (await _order(request)).get("address"))
    with request.state["budgets"].operators:
        await request.state["registry"].fleet.reset(address)
    return _done(request, "reset", address)


async def forget(request: Request[State]) -> Response:
    """Remove every trace of an SFU: `{"address": ...}`."""
    address = parse_address("address", (await _order(request)).get("address"))
    with request.state["budgets"].operators:
        await request.state["registry"].fleet.forget(address)
    return _done(request, "forget", address)


async def _order(request: Request[State]) -> dict[str, Any]:
    """Return the body of an order, which only an operator may give."""
    raw = await request.body()
    authorize(request)
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise MalformedBody("the body is not JSON") from None
    if not isinstance(document, dict):
        raise MalformedBody("the body is not a JSON object")
    return document


def _done(request: Request[State], action: Action, address: str) -> Response:
    note(request.scope, sfu=address)
    audit(request, action)
    expire_views(request.state, address)
    return respond(OrderDone(status="ok", address=address))
