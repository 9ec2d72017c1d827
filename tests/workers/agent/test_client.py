import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from workers.agent.client import RequestFailed, fetch


@contextlib.asynccontextmanager
async def server(*blocks: bytes, close: bool = True, seen: bytearray | None = None) -> AsyncIterator[str]:
    """Answer each request with `blocks`, then close, or keep the connection open until the client goes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            if seen is not None:
                seen.extend(head)
            for block in blocks:
                writer.write(block)
                await writer.drain()
            if not close:
                await reader.read()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()


async def test_a_body_of_declared_length_ends_there_though_the_connection_stays_open() -> None:
    async with server(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe", b"llo", close=False) as url:
        answer = await fetch("GET", f"{url}/v1/noop", timeout_s=2)
    assert (answer.status, answer.body) == (200, b"hello")


async def test_chunks_are_put_together() -> None:
    chunks = b"HTTP/1.1 503 no\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
    async with server(chunks, close=False) as url:
        answer = await fetch("GET", url, timeout_s=2)
    assert (answer.status, answer.body) == (503, b"hello")


async def test_without_a_length_the_end_of_the_connection_is_the_end() -> None:
    async with server(b"HTTP/1.1 200 OK\r\n\r\nhello") as url:
        assert (await fetch("GET", url, timeout_s=2)).body == b"hello"


async def test_the_request_has_path_host_headers_and_body() -> None:
    seen = bytearray()
    async with server(b"HTTP/1.1 204 No Content\r\n\r\n", seen=seen) as url:
        await fetch("POST", f"{url}/v1/sfu", timeout_s=2, headers={"X-Test": "1"}, body=b"{}")
    lines = seen.decode().split("\r\n")
    assert lines[0] == "POST /v1/sfu HTTP/1.1"
    assert {f"Host: {url.removeprefix('http://')}", "Content-Length: 2", "X-Test: 1"} <= set(lines)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ((b"SSH-2.0-OpenSSH\r\n",), "not HTTP"),
        ((b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",), "not HTTP"),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhe",), "before the answer was complete"),
        ((), "before the answer was complete"),
        ((b"HTTP/1.1 200 OK\r\n\r\n", b" " * 200_000), "longer than 65536 bytes"),
    ],
)
async def test_what_is_no_answer_fails(blocks: tuple[bytes, ...], message: str) -> None:
    async with server(*blocks) as url:
        with pytest.raises(RequestFailed, match=message):
            await fetch("GET", url, timeout_s=2)


async def test_a_silent_server_is_given_up_in_time() -> None:
    async with server(close=False) as url:
        with pytest.raises(RequestFailed, match=r"within 0\.05 s"):
            await fetch("GET", url, timeout_s=0.05)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://host.invalid", "http://127.0.0.1:9/ä"])
async def test_an_unreachable_server_fails(url: str) -> None:
    with pytest.raises(RequestFailed, match="no connection"):
        await fetch("GET", url, timeout_s=5)


async def test_a_certificate_is_asked_of_an_https_server() -> None:
    async with server(b"HTTP/1.1 200 OK\r\n\r\n") as url:
        with pytest.raises(RequestFailed):
            await fetch("GET", url.replace("http:", "https:"), timeout_s=2)
