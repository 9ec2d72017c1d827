"""`GET /v1/events`: transitions as server-sent events (https://html.spec.whatwg.org/#server-sent-events)."""

from collections.abc import AsyncIterator
from contextlib import ExitStack

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.endpoints.admin import authorize_viewer
from app.api.request_context import caller_of
from app.api.state import State
from app.errors import InvalidField
from app.events.feed import EventFeed
from app.registry.stream_ids import STREAM_ID


async def events(request: Request[State]) -> Response:
    """Stream new events, or those after `Last-Event-ID`, which browsers send when they reconnect."""
    authorize_viewer(request)
    after = request.headers.get("last-event-id")
    if after is not None and not STREAM_ID.fullmatch(after):
        raise InvalidField("Last-Event-ID", "must be the id of an event, such as 1732280000000-0")
    state = request.state
    with ExitStack() as place:
        caller = caller_of(request.scope, state["settings"].trust_proxy)
        place.enter_context(state["budgets"].viewers.following(caller))
        return _ViewerStream(state["feed"], after, place.pop_all())


class _ViewerStream(StreamingResponse):
    """A viewer's stream. It frees its place at the end, also after an error."""

    def __init__(self, feed: EventFeed, after: str | None, place: ExitStack) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(_pieces(feed, after), media_type="text/event-stream", headers=headers)
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream."""
        with self._place:
            await super().__call__(scope, receive, send)


async def _pieces(feed: EventFeed, after: str | None) -> AsyncIterator[bytes]:
    yield b": connected\n\n"
    async for piece in feed.follow(after):
        yield b": still here\n\n" if piece is None else piece
