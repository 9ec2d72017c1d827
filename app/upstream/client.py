"""Forwarding to SFUs over HTTP: bounded in time and size, no redirects, nothing from the environment."""

import asyncio
import json
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from app.errors import AddressNotAllowed
from app.json_text import decoder
from app.upstream.addresses import AddressGuard
from app.upstream.clocks import clock_ahead_s, clock_words
from app.upstream.connection import Answer, AnswerTooLong, ConnectionDropped, MalformedAnswer
from app.upstream.pool import ConnectionPool, GatewayStops, NameNotResolved, NotConnected, is_own_fault
from app.upstream.resolver import GuardedResolver, NotPermitted

MAX_ANSWER_BYTES: Final = 64 * 1024
"""A channel answer has a few hundred bytes; whoever sends more is not an SFU."""

MAX_STATS_BYTES: Final = 8 << 20

MAX_UUID_CHARACTERS: Final = 200

MAX_URL_CHARACTERS: Final = 2_048


_NEVER_IN_A_HOST: Final = frozenset("@<>^|%")
"""User info, and what a browser refuses in a host (WHATWG URL, forbidden domain code points)."""

Blame: TypeAlias = Literal["at-once", "with-witness", "never"]
"""When an SFU is to blame for a failed attempt: at once, when another SFU served the same request, or never."""

_decode: Final = decoder()

_NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


@dataclass(frozen=True, slots=True)
class Channel:
    """What Odoo gets: the channel's id and the base URL of its SFU."""

    uuid: str
    url: str
    said_url: str = field(default="", compare=False)
    """What the SFU answered as its URL, where a registered public URL took its place."""
    date: bytes = field(default=b"", compare=False)
    """The time of the answer by the SFU's clock (`app.upstream.clocks`)."""


class ForwardError(Exception):
    """An SFU did not create a channel.

    The text completes "the SFU ..." and carries no secret. `status` is the HTTP status of the answer, or `None`;
    `clock_ahead_s` by how much the SFU's clock differs, where an answer shows that.
    """

    def __init__(
        self,
        detail: str,
        status: int | None = None,
        *,
        blame: Blame = "with-witness",
        clock_ahead_s: int = 0,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.blame: Final = blame
        self.clock_ahead_s: Final = clock_ahead_s

    @property
    def is_refused(self) -> bool:
        """Whether the host answers that nobody listens on the port."""
        cause = self.__cause__
        return isinstance(cause, NotConnected) and isinstance(cause.__cause__, ConnectionRefusedError)


class Forwarder:
    """The HTTP client for SFUs, and the agent's for gateways. Use it as an async context manager."""

    def __init__(
        self,
        guard: AddressGuard,
        *,
        tls: ssl.SSLContext | None = None,
        resolver: GuardedResolver | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`guard` says which addresses may be connected to; `tls` defaults to the system's certificates."""
        self._guard = guard
        self._tls = tls
        self._resolver = resolver
        self._wall_clock = wall_clock
        self._pool: ConnectionPool | None = None

    async def __aenter__(self) -> Self:
        self._pool = ConnectionPool(self._guard, resolver=self._resolver, tls=self._tls)
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
        query: str,
        timeout_s: float,
    ) -> Channel:
        """Ask the SFU at `address` for a channel, within `timeout_s` seconds all in all.

        `token` is signed with that SFU's key; `client` is the caller's address; `query` is passed on as it is.
        Where a `public_url` is registered, the channel has that one: an SFU without `PROXY` answers another.

        Raises:
            ForwardError: no connection, no answer in time, not 2xx, or without `uuid` and `url`.
        """
        answer = await self.request(
            "GET",
            address,
            f"/v1/channel?{query}" if query else "/v1/channel",
            timeout_s,
            headers=(("Authorization", f"Bearer {token}"), *_forwarded(client, public_url)),
        )
        if not 200 <= answer.status < 300:
            raise self._refused(answer, " to /v1/channel")
        channel = _channel(answer)
        return Channel(channel.uuid, public_url, channel.url, channel.date) if public_url else channel

    async def disconnect(self, address: str, *, token: str, client: str, timeout_s: float) -> None:
        """Post a disconnect, whose body is the bare `token`, to the SFU at `address`. Raises `ForwardError`."""
        answer = await self.request(
            "POST",
            address,
            "/v1/disconnect",
            timeout_s,
            headers=(*_forwarded(client, ""), ("Content-Type", "application/octet-stream")),
            data=token.encode(),
        )
        if not 200 <= answer.status < 300:
            raise self._refused(answer)

    def _refused(self, answer: Answer, what: str = "") -> ForwardError:
        """An SFU refuses a good token when its clock is far off, and says the same as of a wrong key."""
        ahead_s = clock_ahead_s(answer.date, self._wall_clock())
        detail = f"answered {answer.status}{what}{clock_words(ahead_s)}"
        return ForwardError(detail, answer.status, clock_ahead_s=ahead_s)

    async def probe(self, address: str, timeout_s: float) -> bool:
        """Whether the SFU answers `/v1/noop` with 2xx within `timeout_s` seconds."""
        try:
            answer = await self.request("GET", address, "/v1/noop", timeout_s)
        except ForwardError:
            return False
        return 200 <= answer.status < 300

    async def stats(self, address: str, timeout_s: float) -> object:
        """Return the parsed `/v1/stats` of an SFU. Raises `ForwardError`."""
        answer = await self.request("GET", address, "/v1/stats", timeout_s, max_bytes=MAX_STATS_BYTES)
        try:
            if not 200 <= answer.status < 300:
                raise ForwardError(f"answered {answer.status}", answer.status)
            return json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise ForwardError("answered something that is not JSON") from error

    async def request(
        self,
        method: str,
        address: str,
        target: str,
        timeout_s: float,
        *,
        headers: Sequence[tuple[str, str]] = (),
        data: bytes = b"",
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """Send one request to the server at `address`; return its answer. Raises `ForwardError`.

        `target` is path and query. The request may be sent twice, when an idle connection ends in that moment.
        """
        if self._pool is None:
            raise RuntimeError("the forwarder is not open")
        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            origin = self._pool.origin(address)
        except AddressNotAllowed as error:
            raise ForwardError("has an address that is not allowed") from error
        except ValueError as error:
            raise ForwardError("cannot be reached: its address is not the URL of an SFU") from error
        request = _written(method, target, origin.head, headers, data)
        try:
            return await self._pool.request(origin, request, max_bytes, deadline=deadline)
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
    if isinstance(error, GatewayStops) or is_own_fault(cause):
        return ForwardError(text, blame="never")
    if isinstance(cause, ssl.SSLError):  # the trust that is missing may be the gateway's
        return ForwardError(text)
    return ForwardError(text, blame="at-once")


def _name_of(error: BaseException) -> str:
    """What happened, in the words of the system or of TLS where these have any."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message or type(error).__name__}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or type(error).__name__).replace('_', ' ').lower()}"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return type(error).__name__


def _written(method: str, target: str, head: str, headers: Iterable[tuple[str, str]], data: bytes) -> bytes:
    """Return the request as it is sent. Raises `ForwardError`, for which no SFU is blamed: it cannot be written."""
    if not target.isprintable() or " " in target:
        raise ForwardError("cannot be asked: the request target cannot be written", blame="never")
    try:
        return f"{method} {target}{head}{_fields(headers, data)}\r\n".encode("ascii") + data
    except ValueError as error:  # the text of the error may hold the value, so it is left out
        raise ForwardError("cannot be asked: a header cannot be written", blame="never") from error


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


def _channel(answer: Answer) -> Channel:
    """Read an SFU's answer: the one validator for what an SFU says about a channel.

    Odoo breaks on a 2xx without both texts, browsers connect to the URL, and Redis keeps the uuid. Whatever none
    of them can use is a failed attempt.
    """
    try:
        document = _decode(answer.body.decode())
    except (ValueError, RecursionError) as error:
        raise ForwardError("answered 2xx with something that is not JSON", 200) from error
    uuid, url = (document.get("uuid"), document.get("url")) if isinstance(document, dict) else (None, None)
    if not isinstance(uuid, str) or not isinstance(url, str):
        raise ForwardError("answered 2xx without uuid and url", 200)
    if not 0 < len(uuid) <= MAX_UUID_CHARACTERS or not uuid.isprintable():
        raise ForwardError("answered 2xx with a uuid that cannot be used", 200)
    if not is_usable_url(url):
        raise ForwardError("answered 2xx with a url that cannot be used", 200)
    return Channel(uuid, url, date=answer.date)


@lru_cache(1024)  # an SFU always answers the same one
def is_usable_url(text: str) -> bool:
    """Whether `text` is an http(s) URL with a host that a browser can be sent to."""
    if not len(text) <= MAX_URL_CHARACTERS or not text.isprintable() or " " in text or "\\" in text:
        return False
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    is_host = bool(parts.hostname) and _NEVER_IN_A_HOST.isdisjoint(parts.netloc)
    return parts.scheme in ("http", "https") and is_host and port != 0
