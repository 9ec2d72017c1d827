"""What strangers can do to the port: real connections to a real server whose patience is short."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from app.api.middleware.body_limit import MAX_BODY_BYTES
from app.server.protocol import MAX_AHEAD_BYTES, MAX_HEAD_BYTES, MAX_HEADERS, MAX_TARGET_BYTES, _Cycle
from app.server.uvicorn_server import guest_server_for
from app.settings.model import Settings
from tests.support.ports import HOST
from tests.support.waiting import eventually

PATIENCE_S = 0.3
LONG_S = 5
"""Far more than the patience: what takes this long was not closed."""

GET = b"GET /echo HTTP/1.1\r\nHost: gateway\r\n\r\n"


def post(body: bytes, length: int | None = None) -> bytes:
    """A request with a body of, or so it says, this length."""
    return (
        b"POST /echo HTTP/1.1\r\nHost: gateway\r\nContent-Length: %d\r\n\r\n" % (length or len(body)) + body
    )


def get_with_header(size: int) -> bytes:
    """A request with a header of this size."""
    return GET[:-2] + b"X-Long: " + b"x" * size + b"\r\n\r\n"


@dataclass
class Connection:
    """One TCP connection to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *pieces: bytes, pause_s: float = 0.0) -> None:
        """Send pieces, with a pause before each but the first; stop when the server has closed."""
        for number, piece in enumerate(pieces):
            await asyncio.sleep(pause_s if number else 0)
            self.writer.write(piece)
            try:
                await self.writer.drain()
            except ConnectionError:
                return

    async def answer(self) -> tuple[int, str]:
        """The next answer: status and body."""
        async with asyncio.timeout(LONG_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            return int(head.split()[1]), (await self.reader.readexactly(length)).decode()

    async def problem(self) -> dict[str, Any]:
        """The problem document that is the last thing the server sends."""
        head, _, body = (await self.end()).partition(b"\r\n\r\n")
        assert b"application/problem+json" in head
        assert b"connection: close" in head
        assert b"x-request-id: " in head
        document: dict[str, Any] = json.loads(body)
        assert head.split()[1] == str(document["status"]).encode()
        return document

    async def end(self) -> bytes:
        """What the server still sends until it closes."""
        async with asyncio.timeout(LONG_S):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""


async def echo(request: Request) -> Response:
    """Say how many bytes came."""
    return PlainTextResponse(str(len(await request.body())))


async def slow(_: Request) -> Response:
    """Answer when a request would long have had to be here."""
    await asyncio.sleep(3 * PATIENCE_S)
    return PlainTextResponse("at last")


async def long(_: Request) -> Response:
    """Answer with more than sockets buffer after a few times."""
    return PlainTextResponse("x" * 100_000)


async def headers(request: Request) -> Response:
    """Say which headers came."""
    return PlainTextResponse(",".join(request.headers))


@pytest.fixture
def seen() -> list[str]:
    """Paths of the requests that were started, in order."""
    return []


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch, seen: list[str]) -> AsyncIterator[int]:
    """The port of a running server."""
    monkeypatch.setattr("app.server.protocol.RECEIVE_SECONDS", PATIENCE_S)

    async def noted_slow(request: Request) -> Response:
        seen.append(request.url.path)
        return await slow(request)

    async def noted_echo(request: Request) -> Response:
        seen.append(request.url.path)
        return await echo(request)

    app = Starlette(
        routes=[
            Route("/echo", noted_echo, methods=["GET", "POST"]),
            Route("/slow", noted_slow),
            Route("/long", long),
            Route("/headers", headers, methods=["POST"]),
        ]
    )
    app.state.before_stop = []
    with socket.create_server((HOST, 0)) as listener:
        server = guest_server_for(app, Settings())
        server.config.lifespan = "off"
        server.config.timeout_keep_alive = 2 * PATIENCE_S  # type: ignore[assignment]
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await eventually(lambda: server.started)
        yield listener.getsockname()[1]
        server.should_exit = True
        await task


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    """A connection that is closed in the end."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.transport.abort()


# Those who behave


async def test_a_connection_takes_one_request_after_the_other(port: int) -> None:
    async with connected(port) as connection:
        for body in (b"x", b"xx", b"xxx"):
            await connection.send(post(body))
            assert await connection.answer() == (200, str(len(body)))
            await asyncio.sleep(PATIENCE_S / 2)


async def test_a_connection_takes_several_requests_at_once(port: int) -> None:
    async with connected(port) as connection:
        await connection.send(GET + post(b"xx") + GET + post(b"xxx"))
        assert [await connection.answer() for _ in range(4)] == [
            (200, "0"),
            (200, "2"),
            (200, "0"),
            (200, "3"),
        ]


async def test_a_request_may_come_in_pieces(port: int) -> None:
    async with connected(port) as connection:
        request = post(b"body")
        await connection.send(*(request[i : i + 10] for i in range(0, len(request), 10)), pause_s=0.01)
        assert await connection.answer() == (200, "4")


@pytest.mark.parametrize("size", [MAX_HEAD_BYTES // 4, MAX_HEAD_BYTES - 100])
@pytest.mark.parametrize("pieces", [1, 4])
async def test_a_long_head_is_taken_however_it_comes(port: int, size: int, pieces: int) -> None:
    request = get_with_header(size)
    step = -(-len(request) // pieces)
    async with connected(port) as connection:
        await connection.send(*(request[i : i + step] for i in range(0, len(request), step)), pause_s=0.02)
        assert await connection.answer() == (200, "0")


@pytest.mark.parametrize("size", [MAX_HEAD_BYTES + 1, MAX_BODY_BYTES])
async def test_a_body_may_be_longer_than_a_head(port: int, size: int) -> None:
    async with connected(port) as connection:
        for _ in range(2):
            await connection.send(post(b"x" * size))
            assert await connection.answer() == (200, str(size))


async def test_an_answer_may_take_longer_than_a_request(port: int) -> None:
    async with connected(port) as connection:
        await connection.send(GET.replace(b"/echo", b"/slow"))
        assert await connection.answer() == (200, "at last")


# Those who are slow


@pytest.mark.parametrize(
    "sent",
    [b"", b"G", GET[:-2], post(b"", 100), post(b"x" * 10, 100), GET + b"GET /ec", GET + post(b"", 100)],
    ids=[
        "nothing",
        "a byte",
        "half a head",
        "no body",
        "half a body",
        "a head behind a request",
        "a body behind one",
    ],
)
async def test_a_request_that_does_not_arrive_ends_the_connection(port: int, sent: bytes) -> None:
    async with connected(port) as connection:
        await connection.send(sent)
        await connection.end()


@pytest.mark.parametrize("piece", [b"X-Slow: x\r\n", b"x"], ids=["headers", "body"])
async def test_a_request_that_arrives_in_drops_ends_the_connection(port: int, piece: bytes) -> None:
    start = GET[:-2] if piece.startswith(b"X-") else post(b"", 10_000)
    async with connected(port) as connection:
        sending = asyncio.create_task(connection.send(start, *[piece] * 200, pause_s=PATIENCE_S / 10))
        await connection.end()
        sending.cancel()


async def test_a_second_request_gets_no_more_time_than_the_first(port: int) -> None:
    async with connected(port) as connection:
        await connection.send(GET)
        await connection.answer()
        await connection.send(GET[:10])
        assert (await connection.problem())["code"] == "request_timeout"


async def test_a_connection_without_requests_is_closed(port: int) -> None:
    async with connected(port) as connection:
        await connection.send(GET)
        await connection.answer()
        assert await connection.end() == b""


# Those who send too much


async def test_a_head_that_is_too_long_is_refused(port: int) -> None:
    async with connected(port) as connection:
        await connection.send(get_with_header(2 * MAX_HEAD_BYTES))
        assert (await connection.problem())["code"] == "head_too_large"


async def test_a_head_that_never_ends_is_not_collected(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.server.protocol.RECEIVE_SECONDS", 10 * LONG_S)
    async with connected(port) as connection:
        sending = asyncio.create_task(
            connection.send(GET[:-2] + b"X: ", *[b"x" * 8_000] * 1_000, pause_s=0.001)
        )
        await connection.end()
        sending.cancel()


@pytest.mark.parametrize("length", [MAX_TARGET_BYTES, MAX_HEAD_BYTES, 2 * MAX_HEAD_BYTES])
async def test_a_path_that_is_too_long_is_refused(port: int, length: int) -> None:
    async with connected(port) as connection:
        await connection.send(GET.replace(b"/echo", b"/" + b"e" * length))
        assert (await connection.problem())["code"] == "target_too_long"


async def test_what_is_not_http_is_refused(port: int) -> None:
    async with connected(port) as connection:
        await connection.send(b"\x16\x03\x01\x02\x00\x01\x00")
        assert b" 400 " in await connection.end()


async def test_a_body_that_is_too_long_is_refused_before_it_comes(port: int) -> None:
    async with connected(port) as connection:
        await connection.send(post(b"", MAX_BODY_BYTES + 1))
        assert (await connection.problem())["code"] == "too_large"


async def test_a_chunked_body_is_refused_where_it_gets_too_long(port: int) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    async with connected(port) as connection:
        await connection.send(head, *[chunk] * 5)
        assert (await connection.problem())["code"] == "too_large"


async def test_a_head_of_too_many_headers_is_refused(port: int) -> None:
    async with connected(port) as connection:
        await connection.send(GET[:-2] + b"".join(b"x%d:\r\n" % n for n in range(MAX_HEADERS)) + b"\r\n")
        assert (await connection.problem())["code"] == "head_too_large"


async def test_what_is_wrong_is_answered_behind_the_answers_before_it(port: int) -> None:
    async with connected(port) as connection:
        await connection.send(GET.replace(b"/echo", b"/slow") + GET + b"garbage\r\n\r\n" + GET)
        assert await connection.answer() == (200, "at last")
        assert await connection.answer() == (200, "0")
        assert (await connection.problem())["code"] == "bad_request"


async def test_a_problem_has_the_callers_request_id(port: int) -> None:
    async with connected(port) as connection:
        await connection.send(b"GET /echo HTTP/1.1\r\nX-Request-Id: call-7\r\n\r\n")
        assert b"x-request-id: call-7\r\n" in await connection.end()


# One request at a time


async def test_nothing_is_parsed_while_a_request_runs(port: int, seen: list[str]) -> None:
    async with connected(port) as connection:
        await connection.send(GET.replace(b"/echo", b"/slow") + GET * 3)
        await eventually(lambda: bool(seen))
        assert seen == ["/slow"]
        assert await connection.answer() == (200, "at last")


async def test_more_behind_a_request_than_the_server_keeps_ends_the_connection(port: int) -> None:
    ahead = GET * (2 * MAX_AHEAD_BYTES // len(GET))
    async with connected(port) as connection:
        await connection.send(GET.replace(b"/echo", b"/slow") + ahead)
        assert await connection.answer() == (200, "at last")
        assert await connection.end() == b""


async def test_a_connection_goes_on_after_its_pipelined_requests(port: int) -> None:
    async with connected(port) as connection:
        for _ in range(3):
            await connection.send(GET + post(b"xx") + GET[:9])
            assert await connection.answer() == (200, "0")
            assert await connection.answer() == (200, "2")
            await connection.send(GET[9:])
            assert await connection.answer() == (200, "0")


async def test_answers_that_nobody_reads_end_the_connection(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.server.protocol.WRITE_SECONDS", PATIENCE_S)
    with socket.create_connection((HOST, port)) as caller:
        caller.setblocking(False)
        loop = asyncio.get_running_loop()

        async def send_for_ever() -> None:
            while True:
                await loop.sock_sendall(caller, GET.replace(b"/echo", b"/long") * 100)

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(send_for_ever(), LONG_S)


async def test_a_caller_that_leaves_ends_its_request_and_those_behind_it(port: int, seen: list[str]) -> None:
    async with connected(port) as connection:
        await connection.send(GET.replace(b"/echo", b"/slow") + GET)
        await eventually(lambda: bool(seen))
    async with connected(port) as later:
        await later.send(GET.replace(b"/echo", b"/slow"))
        await later.answer()
    assert seen == ["/slow", "/slow"]


async def test_head_and_body_of_an_answer_leave_in_one_write(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []
    send = _Cycle.send

    async def noted(cycle: _Cycle, message: Any) -> None:
        write = cycle.transport.write

        class Noting:
            def __getattr__(self, name: str) -> Any:
                return getattr(transport, name)

            def write(self, data: bytes) -> None:
                written.append(data)
                write(data)

        transport, cycle.transport = cycle.transport, cast("asyncio.Transport", Noting())
        try:
            await send(cycle, message)
        finally:
            cycle.transport = transport

    monkeypatch.setattr(_Cycle, "send", noted)
    async with connected(port) as connection:
        await connection.send(GET)
        assert await connection.answer() == (200, "0")
    assert len(written) == 1
    assert written[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert written[0].endswith(b"\r\n\r\n0")


async def test_a_request_to_continue_is_answered_before_the_body(port: int) -> None:
    head, _, body = post(b"body").partition(b"\r\n\r\n")
    async with connected(port) as connection:
        await connection.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        async with asyncio.timeout(LONG_S):
            assert await connection.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await connection.send(body)
        assert await connection.answer() == (200, "4")


async def test_trailers_of_a_chunked_body_are_no_headers(port: int) -> None:
    async with connected(port) as connection:
        await connection.send(
            b"POST /headers HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nab\r\n0\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n" + GET
        )
        assert await connection.answer() == (200, "host,transfer-encoding")
        assert await connection.answer() == (200, "0")
