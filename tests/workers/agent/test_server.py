import asyncio
from http import HTTPStatus

import httpx
import pytest

from tests.support.ports import HOST, free_port
from workers.agent import server as agent_server
from workers.agent.server import Page, serving

PAGES = {"/livez": lambda: Page(HTTPStatus.OK, "ok\n")}


async def raw(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_page_is_shown_at_its_path_and_nothing_elsewhere() -> None:
    port = free_port()
    async with serving(PAGES, HOST, port), httpx.AsyncClient(base_url=f"http://{HOST}:{port}") as client:
        page = await client.get("/livez?verbose")
        assert (page.status_code, page.text) == (200, "ok\n")
        assert page.headers["content-type"].startswith("text/plain")
        assert (await client.get("/secret")).status_code == 404
        assert (await client.post("/livez")).status_code == 405


@pytest.mark.parametrize("request_bytes", [b"\r\n\r\n", b"GET\r\n\r\n", b"\xff\xfe\r\n\r\n"])
async def test_nonsense_is_answered_with_an_error(request_bytes: bytes) -> None:
    port = free_port()
    async with serving(PAGES, HOST, port):
        assert (await raw(port, request_bytes)).startswith(b"HTTP/1.1 40")


async def test_an_endless_header_is_cut_off() -> None:
    port = free_port()
    async with serving(PAGES, HOST, port):
        assert await raw(port, b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000) == b""


async def test_who_sends_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_server, "REQUEST_SECONDS", 0.05)
    port = free_port()
    async with serving(PAGES, HOST, port):
        assert await raw(port, b"GET /livez") == b""


async def test_a_taken_port_stops_the_start() -> None:
    port = free_port()
    async with serving(PAGES, HOST, port):
        with pytest.raises(OSError, match="in use"):
            await serving(PAGES, HOST, port).__aenter__()


async def test_port_0_serves_nothing() -> None:
    async with serving(PAGES, "no host at all", 0):
        pass
