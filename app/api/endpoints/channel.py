"""`GET /v1/channel` and `GET /r/{region}/v1/channel`: Odoo asks for a call channel."""

from collections.abc import Mapping
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from app.api.credentials import verify_channel
from app.api.request_context import client_of, note, request_id_of
from app.api.responses import respond
from app.api.schemas import Channel
from app.api.state import State
from app.auth.tenants import Caller
from app.channels.request_ids import unique_id
from app.channels.service import ChannelRequest
from app.logs import pseudonym
from app.upstream.query import query_without

_HINTS = frozenset({"region", "country"})


async def create_channel(request: Request[State]) -> Response:
    """Answer 200 with `uuid` and `url`, both texts, or a problem document."""
    state: State = request.scope["state"]
    caller = verify_channel(request)
    with state["budgets"].channels:
        return await _placed(request, state, caller)


async def _placed(request: Request[State], state: State, caller: Caller) -> Response:
    query: Mapping[str, str] = request.query_params if request.scope["query_string"] else {}
    note(request.scope, tenant=caller.tenant.name, issuer=pseudonym(caller.issuer))
    placed = await state["channels"].create(
        ChannelRequest(
            id=unique_id(request_id_of(request.scope)),
            caller=caller,
            client=client_of(request.scope, state["settings"].trust_proxy),
            query=query_without(request.scope["query_string"], _HINTS),
            region=query.get("region"),
            country=query.get("country"),
            path=request.path_params.get("region"),
            note=partial(note, request.scope),
        )
    )
    note(request.scope, sfu=placed.placement.address, reason=placed.placement.reason, tries=placed.attempts)
    return respond(Channel(uuid=placed.channel.uuid, url=placed.channel.url))
