"""A small HTTP client on asyncio streams, for one request every few seconds in a process of 40 MB.

One connection per request, no redirects, no proxies, no cookies. The deadline bounds the whole request and
the answer has a size limit, so neither a dripping nor a flooding server can hold or fill the agent.
"""

import asyncio
import functools
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httptools

MAX_ANSWER_BYTES: Final = 64 * 1024
_BLOCK_BYTES: Final = 64 * 1024


class RequestFailed(Exception):
    """No answer that can be understood. The message has no secret."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes


async def fetch(
    method: str,
    url: str,
    *,
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    max_bytes: int = MAX_ANSWER_BYTES,
) -> Answer:
    """Send one request and return the answer, within `timeout_s` seconds from connecting to the last byte.

    Raises:
        RequestFailed: no connection, no answer in time, not HTTP, cut off, or longer than `max_bytes`.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _exchange(url, _request(method, url, headers or {}, body), max_bytes)
    except TimeoutError:
        raise RequestFailed(f"no answer within {timeout_s:g} s") from None
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        raise RequestFailed("the answer is not HTTP") from None
    except (OSError, ValueError) as error:
        raise RequestFailed(f"no connection ({type(error).__name__})") from None


async def _exchange(url: str, request: bytes, max_bytes: int) -> Answer:
    parts = urlsplit(url)
    context = _tls() if parts.scheme == "https" else None
    port = parts.port or (443 if context else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
    try:
        writer.write(request)
        return await _read(reader, max_bytes)
    finally:
        writer.transport.abort()


async def _read(reader: asyncio.StreamReader, max_bytes: int) -> Answer:
    incoming = _Incoming()
    parser = httptools.HttpResponseParser(incoming)
    while not incoming.is_complete:
        block = await reader.read(_BLOCK_BYTES)
        if not block:
            break
        parser.feed_data(block)
        if len(incoming.body) > max_bytes:
            raise RequestFailed(f"the answer is longer than {max_bytes} bytes")
    if not incoming.is_complete and not incoming.ends_with_connection:
        raise RequestFailed("the connection was closed before the answer was complete")
    return Answer(parser.get_status_code(), bytes(incoming.body))


class _Incoming:
    """Collects what the parser finds; the names are the parser's."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.is_complete = False
        self.ends_with_connection = False
        self._is_framed = False

    def on_header(self, name: bytes, _: bytes) -> None:
        self._is_framed |= name.lower() in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        self.ends_with_connection = not self._is_framed

    def on_body(self, block: bytes) -> None:
        self.body += block

    def on_message_complete(self) -> None:
        self.is_complete = True


def _request(method: str, url: str, headers: Mapping[str, str], body: bytes) -> bytes:
    parts = urlsplit(url)
    every = {
        "Host": parts.netloc,
        "Connection": "close",
        "Accept": "application/json",
        "Content-Length": str(len(body)),
    } | dict(headers)
    lines = [f"{method} {parts.path or '/'} HTTP/1.1", *(f"{name}: {value}" for name, value in every.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


@functools.cache
def _tls() -> ssl.SSLContext:
    """The system's certificates, or those of `SSL_CERT_FILE`; loaded when the first https URL is asked."""
    return ssl.create_default_context()
