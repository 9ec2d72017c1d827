"""A replica takes so many requests at once and refuses the rest at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Scope

from app.api.middleware.admission import Admission, Capacity

WORK = ["/v1/channel", "/r/eu-west/v1/channel", "/v1/sfu", "/v1/disconnect"]


class Work:
    """Requests that take until they are let go."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.started = asyncio.Semaphore(0)

    async def serve(self, request: Request) -> Response:
        if "fail" in request.query_params:
            raise ValueError
        self.started.release()
        await self.may_end.wait()
        return Response()


@asynccontextmanager
async def replica(work: Work, limit: int) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application that lets `limit` requests in."""

    async def idle(_: Request) -> Response:
        return JSONResponse("ok")

    app = Starlette(
        routes=[Route("/v1/health", idle), Route("/livez", idle), Route("/{path:path}", work.serve)],
        middleware=[Middleware(Admission, capacity=Capacity(limit))],
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


@pytest.mark.parametrize("path", WORK)
async def test_what_is_too_much_is_refused_at_once_with_when_to_come_again(path: str) -> None:
    work = Work()
    async with replica(work, limit=2) as client, asyncio.TaskGroup() as group:
        inside = [group.create_task(client.get(path)) for _ in range(2)]
        for _ in inside:
            await work.started.acquire()
        refused = await client.get(path)
        work.may_end.set()
    assert refused.status_code == 503
    assert refused.json()["code"] == "overloaded"
    assert refused.headers["retry-after"] == "1"
    assert [task.result().status_code for task in inside] == [200, 200]


async def test_probes_and_health_always_pass() -> None:
    work = Work()
    async with replica(work, limit=1) as client, asyncio.TaskGroup() as group:
        group.create_task(client.get("/v1/channel"))
        await work.started.acquire()
        assert [(await client.get(path)).status_code for path in ("/v1/health", "/livez")] == [200, 200]
        work.may_end.set()


async def test_who_leaves_makes_room_however_the_request_ended() -> None:
    work = Work()
    work.may_end.set()
    async with replica(work, limit=1) as client:
        statuses = [
            (await client.get("/v1/channel", params=params)).status_code for params in ("fail", "", "")
        ]
    assert statuses == [500, 200, 200]


async def test_what_is_no_request_is_passed_on() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, *_: object) -> None:
        seen.append(scope)

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(_: Message) -> None:
        pass

    await Admission(app, Capacity(0))({"type": "lifespan"}, receive, send)
    assert seen == [{"type": "lifespan"}]
