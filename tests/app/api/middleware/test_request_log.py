"""Around every request: its id, its log line, the limit of its body."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.api.middleware.body_limit import BodyLimit
from app.api.middleware.request_log import MAX_PATH_CHARACTERS, RequestLog
from app.api.problems import render_gateway_error, render_unexpected
from app.api.request_context import note, request_id_of
from app.errors import GatewayError
from tests.support.logs import captured_logs

LIMIT = 1000


async def echo(request: Request) -> Response:
    """Say how long the body was."""
    note(request.scope, noted="yes")
    return JSONResponse({"bytes": len(await request.body()), "id": request_id_of(request.scope)})


async def fail(_: Request) -> Response:
    """Fail in a way nobody foresaw."""
    raise ZeroDivisionError("a secret detail")


def new_app() -> Starlette:
    """An application with the middleware under test."""
    return Starlette(
        routes=[
            Route("/echo", echo, methods=["GET", "POST"]),
            Route("/fail", fail),
            Route("/livez", echo),
            Route("/readyz", fail),
            Route("/dashboard/main.js", echo),
            Route("/dashboard/fail.js", fail),
        ],
        middleware=[Middleware(RequestLog), Middleware(BodyLimit, max_bytes=LIMIT)],
        exception_handlers={GatewayError: render_gateway_error, Exception: render_unexpected},
    )


async def ask(method: str, path: str, **options: Any) -> tuple[httpx.Response, list[dict[str, Any]]]:
    """The response to one request, and the lines that were logged about it."""
    transport = httpx.ASGITransport(new_app(), raise_app_exceptions=False)
    with captured_logs() as text:
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            response = await client.request(method, path, **options)
    lines = [json.loads(line) for line in text.getvalue().splitlines()]
    return response, [line for line in lines if line["event"] == "request"]


async def test_a_request_is_one_line() -> None:
    response, [line] = await ask("GET", "/echo?secret=1", headers={"Authorization": "Bearer x.y.z"})
    assert line.pop("duration_ms") >= 0
    del line["timestamp"], line["logger"]
    assert line == {
        "event": "request",
        "level": "info",
        "request_id": response.headers["x-request-id"],
        "method": "GET",
        "path": "/echo",
        "status": 200,
        "noted": "yes",
    }


@pytest.mark.parametrize("given", ["abc-123", "a" * 64, "A.b_c-D"])
async def test_a_sane_id_of_the_caller_is_kept(given: str) -> None:
    response, [line] = await ask("GET", "/echo", headers={"X-Request-Id": given})
    assert response.headers["x-request-id"] == response.json()["id"] == line["request_id"] == given


@pytest.mark.parametrize("given", ["", "a" * 65, "two words", "new\\nline", "<script>", "é"])
async def test_any_other_is_replaced(given: str) -> None:
    response, [line] = await ask("GET", "/echo", headers={"X-Request-Id": given.encode()})
    assert response.headers["x-request-id"] == line["request_id"] != given
    assert len(line["request_id"]) == 32


async def test_each_request_has_an_id_of_its_own() -> None:
    (one, _), (other, _) = await ask("GET", "/echo"), await ask("GET", "/echo")
    assert one.headers["x-request-id"] != other.headers["x-request-id"]


async def test_what_nobody_foresaw_has_an_id_a_line_and_no_details() -> None:
    response, [line] = await ask("GET", "/fail")
    assert response.status_code == 500
    assert response.headers["x-request-id"] == line["request_id"]
    assert (line["level"], line["status"], line["code"]) == ("error", 500, "internal")
    assert line["error"] == "ZeroDivisionError"
    assert "secret detail" not in response.text


async def test_probes_are_logged_only_when_they_fail() -> None:
    assert (await ask("GET", "/livez"))[1] == []
    assert len((await ask("GET", "/readyz"))[1]) == 1


async def test_files_of_the_page_are_logged_only_when_they_fail() -> None:
    assert (await ask("GET", "/dashboard/main.js"))[1] == []
    assert len((await ask("GET", "/dashboard/fail.js"))[1]) == 1


async def test_a_refusal_that_repeats_has_no_second_line() -> None:
    transport = httpx.ASGITransport(new_app())
    with captured_logs() as text:
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            answers = [await client.post("/echo", content=b"x" * (LIMIT + 1)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [413] * 3
    assert text.getvalue().count('"event": "request"') == 1


# The limit


async def test_a_body_within_the_limit_is_read() -> None:
    response, _ = await ask("POST", "/echo", content=b"x" * LIMIT)
    assert response.json()["bytes"] == LIMIT


async def in_chunks(size: int) -> AsyncIterator[bytes]:
    """A body that does not say its length first."""
    for _ in range(0, size, 100):
        yield b"x" * 100


@pytest.mark.parametrize("is_announced", [True, False])
async def test_a_longer_body_is_a_problem_with_an_id_and_a_line(is_announced: bool) -> None:
    content = b"x" * (LIMIT + 1) if is_announced else in_chunks(LIMIT + 100)
    response, [line] = await ask("POST", "/echo", content=content)
    assert (response.status_code, response.json()["code"]) == (413, "too_large")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"] == line["request_id"]
    assert (line["status"], line["code"]) == (413, "too_large")


async def test_a_length_that_is_a_lie_does_not_help() -> None:
    response, _ = await ask("POST", "/echo", content=in_chunks(LIMIT + 100), headers={"Content-Length": "5"})
    assert response.status_code == 413


async def test_a_long_path_is_cut_in_the_log() -> None:
    _, lines = await ask("GET", "/" + "x" * 8_000)
    assert [len(line["path"]) for line in lines if line["event"] == "request"] == [MAX_PATH_CHARACTERS]
