"""A full replica refuses in the server: the same answer as the application's, for what is work and plain."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from app.api.budgets import Budgets
from app.api.problems import render_gateway_error
from app.errors import CredentialsInvalid, GatewayError
from app.server.uvicorn_server import guest_server_for
from app.settings.model import LimitsSettings, Settings
from tests.support.logs import captured_logs
from tests.support.ports import HOST
from tests.support.waiting import eventually

LONG_S = 5


@dataclass
class Served:
    """A running server whose requests for work take until they are let go."""

    port: int = 0
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    inside: int = 0
    refused: int = 0

    async def work(self, request: Request) -> Response:
        with request.state["budgets"].of_work(request.url.path):
            self.inside += 1
            await self.may_end.wait()
        return PlainTextResponse("done")

    def note_refusal(self, _status: int, _code: str) -> None:
        self.refused += 1


class Tenants:
    """Knows one token."""

    def verify(self, token: str) -> None:
        if token != "good":
            raise CredentialsInvalid("another one")


@asynccontextmanager
async def serving(limit: int) -> AsyncIterator[Served]:
    """Run a real server with room for so many."""
    served = Served()
    limits = LimitsSettings.model_construct(**LimitsSettings().model_dump() | {"max_heartbeats": limit})
    settings = Settings.model_construct(max_concurrent_requests=limit, limits=limits)
    budgets = Budgets(settings, on_refused_early=served.note_refusal)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, object]]:
        yield {"budgets": budgets, "tenants": Tenants()}

    async def idle(_: Request) -> Response:
        return PlainTextResponse("idle")

    app = Starlette(
        routes=[
            Route("/v1/channel", served.work),
            Route("/r/{region}/v1/channel", served.work),
            Route("/v1/sfu", served.work, methods=["POST"]),
            Route("/livez", idle),
        ],
        exception_handlers={GatewayError: render_gateway_error},
        lifespan=lifespan,
    )
    app.state.before_stop = []
    server = guest_server_for(app, Settings(bind=HOST, port=0))
    task = asyncio.create_task(server.serve())
    try:
        await eventually(lambda: server.started)
        served.port = server.servers[0].sockets[0].getsockname()[1]
        yield served
    finally:
        served.may_end.set()
        server.should_exit = True
        await task


@dataclass
class Connection:
    """One TCP connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, text: str) -> None:
        self.writer.write(text.encode())
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(LONG_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.strip().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            body = await self.reader.readexactly(int(headers["content-length"]))
        return int(status.split()[1]), headers, body

    async def is_closed(self) -> bool:
        async with asyncio.timeout(LONG_S):
            return await self.reader.read(1) == b""


@asynccontextmanager
async def connected(served: Served) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection(HOST, served.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


def get(path: str = "/v1/channel", *lines: str, version: str = "1.1") -> str:
    return "\r\n".join([f"GET {path} HTTP/{version}", "Host: gateway", *lines, "", ""])


def post(body: str, path: str = "/v1/sfu", *lines: str) -> str:
    head = [f"POST {path} HTTP/1.1", "Host: gateway", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join([*head, "", body])


async def fill(served: Served, connection: Connection) -> None:
    """Take the only place."""
    await connection.send(get())
    await eventually(lambda: served.inside == 1)


async def test_the_answer_is_the_applications_problem_document_with_the_callers_id() -> None:
    async with serving(1) as served, connected(served) as first, connected(served) as other:
        await fill(served, first)
        await other.send(get("/v1/channel?region=eu", "X-Request-Id: call-7"))
        status, headers, body = await other.answer()
    assert (status, headers["x-request-id"], headers["retry-after"]) == (503, "call-7", "1")
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["code"] == "overloaded"
    assert served.refused == 1


async def test_a_request_without_an_id_gets_one() -> None:
    async with serving(0) as served, connected(served) as caller:
        await caller.send(get("/r/eu-west/v1/channel"))
        assert len((await caller.answer())[1]["x-request-id"]) == 32


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_the_connection_ends_with_the_refusal(version: str) -> None:
    async with serving(0) as served, connected(served) as caller:
        await caller.send(get(version=version))
        status, headers, _ = await caller.answer()
        assert (status, headers["connection"]) == (503, "close")
        assert await caller.is_closed()


async def test_once_there_is_room_callers_are_served() -> None:
    async with serving(1) as served, connected(served) as first:
        await fill(served, first)
        async with connected(served) as early:
            await early.send(get())
            assert (await early.answer())[0] == 503
        served.may_end.set()
        assert (await first.answer())[0] == 200
        async with connected(served) as later:
            await later.send(get())
            assert (await later.answer())[2] == b"done"


async def test_heartbeats_have_room_while_channels_have_none() -> None:
    async with serving(1) as served, connected(served) as first, connected(served) as sfu:
        await fill(served, first)
        await sfu.send(post('{"status": "up"}'))
        await eventually(lambda: served.inside == 2)
        served.may_end.set()
        assert (await sfu.answer())[2] == b"done"


async def test_what_is_no_work_always_passes() -> None:
    async with serving(0) as served, connected(served) as caller:
        await caller.send(get("/livez"))
        assert (await caller.answer())[0] == 200
        assert served.refused == 0


async def test_a_body_is_read_to_its_end_before_the_answer() -> None:
    async with serving(0) as served, connected(served) as caller:
        whole = post("x" * 50_000)
        for start in range(0, len(whole), 10_000):
            await caller.send(whole[start : start + 10_000])
        assert (await caller.answer())[0] == 503


async def test_what_follows_a_refusal_in_the_same_packet_is_not_answered() -> None:
    async with serving(0) as served, connected(served) as caller:
        await caller.send(get("/v1/channel") + get("/v1/channel") + get("/livez"))
        assert (await caller.answer())[0] == 503
        assert await caller.is_closed()
        assert served.refused == 1


async def test_a_burst_within_one_turn_is_counted_before_any_of_it_runs() -> None:
    async with serving(3) as served:
        connections = [await asyncio.open_connection(HOST, served.port) for _ in range(20)]
        for _, writer in connections:
            writer.write(get().encode())
        await eventually(lambda: served.inside + served.refused == 20)
        for _, writer in connections:
            writer.close()
    assert (served.inside, served.refused) == (3, 17)


async def test_a_burst_of_strangers_takes_no_room_from_a_caller_with_a_token() -> None:
    async with serving(3) as served:
        connections = [await asyncio.open_connection(HOST, served.port) for _ in range(20)]
        for _, writer in connections:
            writer.write(get().encode())
        async with connected(served) as caller:
            await caller.send(get("/v1/channel", "Authorization: jwt good"))
            await eventually(lambda: served.inside + served.refused >= 20)
        for _, writer in connections:
            writer.close()
    assert served.refused <= 17


async def test_many_refusals_are_one_line() -> None:
    with captured_logs() as logs:
        async with serving(0) as served:
            for _ in range(10):
                async with connected(served) as caller:
                    await caller.send(get())
                    await caller.answer()
    lines = [json.loads(line) for line in logs.getvalue().splitlines()]
    assert len([line for line in lines if line["event"] == "requests_refused"]) == 1
    assert not [line for line in lines if line["event"] == "request"]
