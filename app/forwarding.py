"""Forwarding to SFUs over HTTP: bounded in time and size, no redirects, nothing from the environment."""

import asyncio
import ipaddress
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from app.addresses import AddressGuard
from app.errors import AddressNotAllowed

MAX_ANSWER_BYTES: Final = 64 * 1024
"""A channel answer has a few hundred bytes; whoever sends more is not an SFU."""

MAX_STATS_BYTES: Final = 8 << 20

MAX_UUID_CHARACTERS: Final = 200

_KEEP_ALIVE_SECONDS: Final = 4.0
"""Node.js closes idle connections after 5 s; reusing one in that moment would look like a failure."""


@dataclass(frozen=True, slots=True)
class Channel:
    """What Odoo gets: the channel's id and the base URL of its SFU."""

    uuid: str
    url: str


class ForwardError(Exception):
    """An SFU did not create a channel. `status` is the HTTP status it answered with, or `None`."""

    def __init__(self, detail: str, status: int | None = None) -> None:
        """Take what happened, free of secrets."""
        super().__init__(detail)
        self.status = status


class GuardedResolver(AbstractResolver):
    """Resolves names, and refuses those that lead where the gateway must not go.

    The connection goes to the very address that was checked.
    """

    def __init__(self, guard: AddressGuard) -> None:
        """Take the `guard` that decides."""
        self._guard = guard
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the permitted addresses of `host`. Raises `OSError` when there is none."""
        found = await self._inner.resolve(host, port, family)
        permitted = [entry for entry in found if self._guard.permits(ipaddress.ip_address(entry["host"]))]
        if not permitted:
            raise OSError(f"{host} leads to no permitted address")
        return permitted

    async def close(self) -> None:
        """Let the resolver go."""
        await self._inner.close()


class Forwarder:
    """An HTTP client for SFUs. Use it as an async context manager."""

    def __init__(self, guard: AddressGuard) -> None:
        """Take the `guard` that says which addresses may be connected to."""
        self._guard = guard
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            limit=0,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            resolver=GuardedResolver(self._guard),
            ttl_dns_cache=30,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None),  # each attempt has its own, around everything
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def create_channel(
        self,
        address: str,
        *,
        token: str,
        client: str,
        public_url: str,
        query: Sequence[tuple[str, str]],
        timeout_s: float,
    ) -> Channel:
        """Ask the SFU at `address` for a channel, within `timeout_s` seconds all in all.

        `token` is signed with that SFU's key; `client` is the caller's address; `query` is passed through.

        Raises:
            ForwardError: no connection, no answer in time, not 2xx, or without `uuid` and `url`.
        """
        headers = {"Authorization": f"Bearer {token}", **_forwarded(client, public_url)}
        status, body = await self._request(
            "GET", f"{address}/v1/channel", timeout_s, query=query, headers=headers
        )
        if not 200 <= status < 300:
            raise ForwardError(f"answered {status}", status)
        return _channel(body)

    async def disconnect(self, address: str, *, token: str, client: str, timeout_s: float) -> None:
        """Post a disconnect, whose body is the bare `token`, to the SFU at `address`. Raises `ForwardError`."""
        status, _ = await self._request(
            "POST", f"{address}/v1/disconnect", timeout_s, headers=_forwarded(client, ""), data=token.encode()
        )
        if not 200 <= status < 300:
            raise ForwardError(f"answered {status}", status)

    async def probe(self, address: str, timeout_s: float) -> bool:
        """Whether the SFU answers `/v1/noop` with 2xx within `timeout_s` seconds."""
        try:
            status, _ = await self._request("GET", f"{address}/v1/noop", timeout_s)
        except ForwardError:
            return False
        return 200 <= status < 300

    async def stats(self, address: str, timeout_s: float) -> object:
        """Return the parsed `/v1/stats` of an SFU. Raises `ForwardError`."""
        status, body = await self._request("GET", f"{address}/v1/stats", timeout_s, max_bytes=MAX_STATS_BYTES)
        try:
            if not 200 <= status < 300:
                raise ForwardError(f"answered {status}", status)
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ForwardError("answered something that is not JSON") from error

    async def _request(
        self,
        method: str,
        url: str,
        timeout_s: float,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: dict[str, str] | None = None,
        data: bytes | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> tuple[int, bytes]:
        if self._session is None:
            raise RuntimeError("the forwarder is not open")
        try:
            self._guard.check(url[: url.index("/", len("https://"))])
            async with (
                asyncio.timeout(timeout_s),
                self._session.request(
                    method, url, params=list(query), headers=headers, data=data, allow_redirects=False
                ) as response,
            ):
                return response.status, await _read(response, max_bytes)
        except TimeoutError as error:
            raise ForwardError("did not answer in time") from error
        except AddressNotAllowed as error:
            raise ForwardError("has an address that is not allowed") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ForwardError(f"cannot be reached: {type(error).__name__}") from error


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            response.close()
            raise ForwardError(f"answered more than {max_bytes} bytes", response.status)
    return bytes(body)


def _forwarded(client: str, public_url: str) -> dict[str, str]:
    """The caller's address, overwritten, and the name under which browsers reach the SFU."""
    headers = {"X-Forwarded-For": client}
    if public_url:
        parts = urlsplit(public_url)
        headers |= {"X-Forwarded-Host": parts.netloc, "X-Forwarded-Proto": parts.scheme}
    return headers


def _channel(body: bytes) -> Channel:
    """Read an SFU's answer. Odoo breaks on a 2xx without both texts, so it never gets one."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ForwardError("answered 2xx with something that is not JSON", 200) from error
    match document:
        case {"uuid": str(uuid), "url": str(url)} if 0 < len(uuid) <= MAX_UUID_CHARACTERS and url:
            return Channel(uuid, url)
        case _:
            raise ForwardError("answered 2xx without uuid and url", 200)
