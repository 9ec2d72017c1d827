"""`GET /metrics`: what Prometheus scrapes."""

from starlette.requests import Request
from starlette.responses import Response

from app.api.state import State


async def metrics(request: Request[State]) -> Response:
    """Answer with all metrics of this replica, from memory alone: a scrape never waits for Redis."""
    body, content_type = request.state["metrics"].exposition(request.headers.get("accept"))
    return Response(body, headers={"Content-Type": content_type})
