"""The agent's own HTTP port: pages that are texts, for probes and Prometheus."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeAlias

REQUEST_SECONDS: Final = 5.0
"""Who has not sent a whole request by then is cut off."""

MAX_REQUEST_BYTES: Final = 8 * 1024


@dataclass(frozen=True, slots=True)
class Page:
    """What is shown at a path."""

    status: HTTPStatus
    text: str
    content_type: str = "text/plain; charset=utf-8"


Pages: TypeAlias = Mapping[str, Callable[[], Page]]

_CALLERS_FAULT: Final = (
    TimeoutError,
    ConnectionError,
    asyncio.IncompleteReadError,
    asyncio.LimitOverrunError,
)
_NOT_FOUND: Final = Page(HTTPStatus.NOT_FOUND, "no such page\n")
_NOT_ALLOWED: Final = Page(HTTPStatus.METHOD_NOT_ALLOWED, "GET only\n")


@contextlib.asynccontextmanager
async def serving(pages: Pages, host: str, port: int) -> AsyncIterator[None]:
    """Answer `GET` of each path of `pages` for as long as the block runs; nothing with port 0.

    Raises:
        OSError: the port is taken.
    """
    if port == 0:
        yield
        return

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(*_CALLERS_FAULT):
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(_page(pages, head)))
                await writer.drain()

    server = await asyncio.start_server(answer, host, port, limit=MAX_REQUEST_BYTES)
    try:
        yield
    finally:
        server.close()


def _page(pages: Pages, head: bytes) -> Page:
    method, _, target = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    if method != "GET":
        return _NOT_ALLOWED
    page = pages.get(target.partition(" ")[0].partition("?")[0])
    return _NOT_FOUND if page is None else page()


def _response(page: Page) -> bytes:
    body = page.text.encode()
    head = (
        f"HTTP/1.1 {page.status.value} {page.status.phrase}\r\nContent-Type: {page.content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
