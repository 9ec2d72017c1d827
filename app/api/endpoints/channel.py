"""`GET /v1/channel` and `GET /r/{region}/v1/channel`: Odoo asks for a call channel."""

from collections.abc import Mapping
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from app.api.credentials import verify_channel
from app.api.request_context import client_of, note, request_id_of
from app.api.responses import respond_channel
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
        note(request.scope, tenant=caller.tenant.name, issuer=pseudonym(caller.issuer))
        placed = await state["channels"].create(_asked(request, state, caller))
        placement = placed.placement
        note(request.scope, sfu=placement.address, reason=placement.reason, tries=placed.attempts)
        return respond_channel(placed.channel.uuid, placed.channel.url)


def _asked(request: Request[State], state: State, caller: Caller) -> ChannelRequest:
    scope = request.scope
    query: Mapping[str, str] = request.query_params if scope["query_string"] else {}
    return ChannelRequest(
        id=unique_id(request_id_of(scope)),
        caller=caller,
        client=client_of(scope, state["settings"].trust_proxy),
        query=query_without(scope["query_string"], _HINTS),
        region=query.get("region"),
        country=query.get("country"),
        path=scope["path_params"].get("region"),
        note=partial(note, scope),
    )
