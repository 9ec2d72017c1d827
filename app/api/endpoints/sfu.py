"""`POST /v1/sfu`: SFUs register, report and sign off (roadmap, phase 1)."""

from starlette.requests import Request
from starlette.responses import Response

from app.api.audit import audit
from app.api.credentials import verify_registration
from app.api.request_context import note
from app.api.responses import respond
from app.api.schemas import HeartbeatReply
from app.api.state import State, expire_views
from app.errors import BadInput, Refused, TooManyFailures
from app.registration.service import Reply, read_heartbeat


async def take_heartbeat(request: Request[State]) -> Response:
    """Answer 200 with when to send the next heartbeat and whether to drain, or a problem document."""
    try:
        reply = await _taken(request)
    except TooManyFailures:
        raise  # the first of these failures are in the audit log: a stranger must not fill it
    except (BadInput, Refused) as error:
        audit(request, "registration_refused", code=error.code)
        raise
    if reply.change is not None:
        audit(request, reply.change)
    if reply.change in (
        "signed_off",
        "reported_gone",
    ):  # at once, while a registration may take a second to show
        expire_views(request.state)
    return respond(HeartbeatReply.of(reply))


async def _taken(request: Request[State]) -> Reply:
    raw = await request.body()
    claims = verify_registration(request)
    body = read_heartbeat(raw)
    note(request.scope, sfu=body.address)
    with request.state["budgets"].heartbeats:
        return await request.state["registration"].take(body, claims)
