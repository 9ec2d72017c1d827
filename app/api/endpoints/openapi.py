"""`GET /openapi.json`: the description of every route."""

from starlette.requests import Request
from starlette.responses import Response

from app.api.state import State


async def openapi(request: Request[State]) -> Response:
    """Answer with the OpenAPI document."""
    return Response(await request.state["description"].json(), media_type="application/json")
