"""`POST /v1/sfu`: SFUs register, report and sign off (roadmap, phase 1)."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.state import State


async def take_heartbeat(request: Request[State]) -> Response:
    """Answer 200 with when to send the next heartbeat and whether to drain, or a problem document."""
    registration = request.state["registration"]
    registration.authenticate(request.headers.get("authorization"))
    reply = await registration.take(await request.body())
    return JSONResponse({"status": "ok", "nextPingMs": reply.next_ping_ms, "draining": reply.is_draining})
