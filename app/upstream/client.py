"""Forwarding to SFUs over HTTP: bounded in time and size, no redirects, nothing from the environment."""

import asyncio
import json
import os
import socket
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self, TypeAlias
from urllib.parse import quote_plus

from app.errors import AddressNotAllowed
from app.upstream.addresses import AddressGuard
from app.upstream.connection import Answer, AnswerTooLong, ConnectionDropped, MalformedAnswer
from app.upstream.pool import OWN_ERRNOS, ConnectionPool, GatewayStops, NameNotResolved, NotConnected
from app.upstream.resolver import NotPermitted

MAX_ANSWER_BYTES: Final = 64 * 1024
"""A channel answer has a few hundred bytes; whoever sends more is not an SFU."""

MAX_STATS_BYTES: Final = 8 << 20

MAX_UUID_CHARACTERS: Final = 200

_QUERY_SAFE: Final = "!$'()*,/:?@"
"""Written as they are within a query, beside letters, digits and `-._~`; a space is written as `+`."""


Blame: TypeAlias = Literal["at-once", "with-witness", "never"]
"""When an SFU is to blame for a failed attempt: at once, when another SFU served the same request, or never."""

_NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


@dataclass(frozen=True, slots=True)
class Channel:
    """What Odoo gets: the channel's id and the base URL of its SFU."""

    uuid: str
    url: str


class ForwardError(Exception):
    """An SFU did not create a channel.

    The text completes "the SFU ..." and carries no secret. `status` is the HTTP status of the answer, or `None`.
    """

    def __init__(self, detail: str, status: int | None = None, *, blame: Blame = "with-witness") -> None:
        super().__init__(detail)
        self.status = status
        self.blame: Final = blame


class Forwarder:
    """An HTTP client for SFUs. Use it as an async context manager."""

    def __init__(self, guard: AddressGuard, *, tls: ssl.SSLContext | None = None) -> None:
        """Take the `guard` that says which addresses may be connected to, and whom TLS believes.

        By default TLS believes whom the system believes.
        """
        self._guard = guard
        self._tls = tls
        self._pool: ConnectionPool | None = None

    async def __aenter__(self) -> Self:
        self._pool = ConnectionPool(self._guard, tls=self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pool is not None:
            await self._pool.close()

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
        status, body = await self._request(
            "GET",
            address,
            "/v1/channel",
            timeout_s,
            query=query,
            headers=(("Authorization", f"Bearer {token}"), *_forwarded(client, public_url)),
        )
        if not 200 <= status < 300:
            raise ForwardError(f"answered {status} to /v1/channel", status)
        return _channel(body)

    async def disconnect(self, address: str, *, token: str, client: str, timeout_s: float) -> None:
        """Post a disconnect, whose body is the bare `token`, to the SFU at `address`. Raises `ForwardError`."""
        status, _ = await self._request(
            "POST",
            address,
            "/v1/disconnect",
            timeout_s,
            headers=(*_forwarded(client, ""), ("Content-Type", "application/octet-stream")),
            data=token.encode(),
        )
        if not 200 <= status < 300:
            raise ForwardError(f"answered {status}", status)

    async def probe(self, address: str, timeout_s: float) -> bool:
        """Whether the SFU answers `/v1/noop` with 2xx within `timeout_s` seconds."""
        try:
            status, _ = await self._request("GET", address, "/v1/noop", timeout_s)
        except ForwardError:
            return False
        return 200 <= status < 300

    async def stats(self, address: str, timeout_s: float) -> object:
        """Return the parsed `/v1/stats` of an SFU. Raises `ForwardError`."""
        status, body = await self._request("GET", address, "/v1/stats", timeout_s, max_bytes=MAX_STATS_BYTES)
        try:
            if not 200 <= status < 300:
                raise ForwardError(f"answered {status}", status)
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ForwardError("answered something that is not JSON") from error

    async def _request(
        self,
        method: str,
        address: str,
        path: str,
        timeout_s: float,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Sequence[tuple[str, str]] = (),
        data: bytes = b"",
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        if self._pool is None:
            raise RuntimeError("the forwarder is not open")
        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            origin = self._pool.origin(address)
        except AddressNotAllowed as error:
            raise ForwardError("has an address that is not allowed") from error
        except ValueError as error:
            raise ForwardError("cannot be reached: its address is not the URL of an SFU") from error
        try:
            request = f"{method} {path}{query_text(query)}{origin.head}{_fields(headers, data)}\r\n".encode(
                "ascii"
            )
        except ValueError as error:  # the text of the error may hold the value, so it is left out
            raise ForwardError("cannot be asked: a header cannot be written", blame="never") from error
        try:
            return await self._pool.request(origin, request + data, max_bytes, deadline=deadline)
        except (NameNotResolved, NotConnected, GatewayStops) as error:
            raise _unreachable(error, timeout_s, is_tls=origin.is_tls) from error
        except TimeoutError as error:
            raise ForwardError(f"did not answer within {timeout_s:.3g} s") from error
        except AnswerTooLong as error:
            raise ForwardError(f"answered more than {max_bytes} bytes", error.status) from error
        except ConnectionDropped as error:
            raise ForwardError("cannot be reached: the connection ended without an answer") from error
        except (MalformedAnswer, OSError) as error:
            raise ForwardError(f"cannot be reached: {_name_of(error)}") from error


def _unreachable(error: OSError, timeout_s: float, *, is_tls: bool) -> ForwardError:
    """The failure of a request that was not sent: `error` wraps its cause."""
    cause = error.__cause__ or error
    if isinstance(error, NameNotResolved):
        # A name that does not exist is the SFU's fault, unless the resolver says so of every name.
        is_unknown = isinstance(cause, socket.gaierror) and cause.errno in _NO_SUCH_NAME
        if is_unknown:
            return ForwardError("cannot be reached: its name does not exist")
        if isinstance(cause, NotPermitted):
            return ForwardError("cannot be reached: its name leads to no permitted address")
        return ForwardError("cannot be reached: its name cannot be looked up", blame="never")
    if isinstance(cause, TimeoutError):
        # With TLS, the time includes the handshake: the connection may have been open.
        text = f"did not answer within {timeout_s:.3g} s: no connection"
        return ForwardError(text, blame="with-witness" if is_tls else "at-once")
    text = f"cannot be reached: {_name_of(cause)}"
    if isinstance(error, GatewayStops) or getattr(cause, "errno", None) in OWN_ERRNOS:
        return ForwardError(text, blame="never")
    if isinstance(cause, ssl.SSLError):  # the trust that is missing may be the gateway's
        return ForwardError(text)
    return ForwardError(text, blame="at-once")


def _name_of(error: BaseException) -> str:
    """What happened, in the system's words where it has any."""
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno:
        return os.strerror(error.errno).lower()
    return type(error).__name__


def query_text(parameters: Iterable[tuple[str, str]]) -> str:
    """The parameters as they follow a path. Half a surrogate pair, which no URL can say, is left out."""
    said = [
        f"{quote_plus(name, _QUERY_SAFE, errors='ignore')}={quote_plus(value, _QUERY_SAFE, errors='ignore')}"
        for name, value in parameters
    ]
    return "?" + "&".join(said) if said else ""


def _fields(headers: Iterable[tuple[str, str]], data: bytes) -> str:
    """The headers as they are sent. Raises `ValueError` when a value could be taken for anything else."""
    lines = []
    for name, value in headers:
        if not value.isascii() or not value.isprintable():
            raise ValueError(f"{name} is not printable ASCII")
        lines.append(f"{name}: {value}\r\n")
    if data:
        lines.append(f"Content-Length: {len(data)}\r\n")
    return "".join(lines)


def _forwarded(client: str, public_url: str) -> tuple[tuple[str, str], ...]:
    """The caller's address, overwritten, and the name under which browsers reach the SFU."""
    if not public_url:
        return (("X-Forwarded-For", client),)
    scheme, _, host = public_url.partition("://")
    return (("X-Forwarded-For", client), ("X-Forwarded-Host", host), ("X-Forwarded-Proto", scheme))


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
