"""`POST /v1/disconnect`: Odoo ends sessions of calls that the gateway placed."""

from starlette.requests import Request
from starlette.responses import Response

from app.api.credentials import verify_disconnect
from app.api.request_context import client_of, note
from app.api.responses import respond
from app.api.schemas import Disconnected
from app.api.state import State


async def disconnect(request: Request[State]) -> Response:
    """Answer 200 with what was done, 422 on a bad token; the body is the bare token, as SFUs take it."""
    body = await request.body()
    token = body.decode("utf-8", "replace").strip()
    order = verify_disconnect(request, token)
    client = client_of(request.scope, request.state["settings"].trust_proxy)
    with request.state["budgets"].disconnects:
        done = await request.state["disconnects"].forward(order, client)
    note(request.scope, told=done.sfus, failed=list(done.failed), unknown=done.unknown)
    return respond(Disconnected(sfus=done.sfus, failed=list(done.failed), unknownChannels=done.unknown))
