"""`GET /v1/events`: transitions as server-sent events (https://html.spec.whatwg.org/#server-sent-events)."""

import json
import re
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.api.state import State
from app.errors import InvalidField
from app.events.feed import EventFeed

_STREAM_ID: Final = re.compile(r"\d{1,20}(-\d{1,20})?")


async def events(request: Request[State]) -> Response:
    """Stream what happens from now on, or after `Last-Event-ID`, which browsers send when they reconnect."""
    after = request.headers.get("last-event-id")
    if after is not None and not _STREAM_ID.fullmatch(after):
        raise InvalidField("Last-Event-ID", "must be the id of an event, such as 1732280000000-0")
    return StreamingResponse(
        _frames(request.state["feed"], after),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _frames(feed: EventFeed, after: str | None) -> AsyncIterator[str]:
    yield ": connected\n\n"
    async for event in feed.follow(after):
        if event is None:
            yield ": still here\n\n"
        else:
            yield f"id: {event['id']}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n"
