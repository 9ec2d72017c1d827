"""The HTTP API of a simulated SFU, answered as odoo/sfu 1.3.3 does (or o-sfu, in the strict dialect)."""

import asyncio
import json
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from aiohttp import web

from app.crypto.claims import Claims
from app.crypto.tokens import Key
from workers.simulator.channels import ChannelBook
from workers.simulator.faults import Fault, NoFault
from workers.simulator.tokens import REFUSED_STATUS, Dialect, TokenRefused, claims_of

RECORDED_CALLS: Final = 100
"""How many of the last requests are kept for assertions."""


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """How one SFU answers. Its own `key` signs nothing but the tokens made for it.

    With `proxy`, `X-Forwarded-*` headers are believed. `creation_delay_ms` passes between looking a channel
    up and storing a new one: requests of one issuer that overlap make several channels, as with the real SFU.
    """

    key: Key
    dialect: Dialect = "odoo"
    proxy: bool = False
    creation_delay_ms: float = 3.0


@dataclass(slots=True)
class Call:
    """One request as the SFU saw it; `claims` are those of a token it believed, else empty."""

    method: str
    path: str
    remote_address: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    claims: Claims = field(default_factory=dict, repr=False)


_Route: TypeAlias = Callable[[web.BaseRequest, Call], Awaitable[web.Response]]


class SfuApi:
    """Routes, and a record of what came in: `calls` (the last ones) and `counts` (all, by path)."""

    def __init__(self, config: ApiConfig, channels: ChannelBook, *, clock: Callable[[], float]) -> None:
        """`clock` is in seconds since the epoch."""
        self.public_host = ""
        self.fault: Fault = NoFault()
        """Decides by which key and which clock tokens are judged."""
        self.calls: deque[Call] = deque(maxlen=RECORDED_CALLS)
        self.counts: Counter[str] = Counter()
        self._config = config
        self._channels = channels
        self._clock = clock
        self._routes: dict[tuple[str, str], _Route] = {
            ("GET", "/v1/noop"): self._noop,
            ("GET", "/v1/stats"): self._stats,
            ("GET", "/v1/channel"): self._channel,
            ("POST", "/v1/disconnect"): self._disconnect,
        }

    def record(self, request: web.BaseRequest) -> Call:
        """Note that `request` came in and return the note."""
        call = Call(request.method, request.path, self._remote(request), request.query, request.headers)
        self.calls.append(call)
        self.counts[call.path] += 1
        return call

    async def respond(self, request: web.BaseRequest, call: Call) -> web.Response:
        """Answer `request`, of which `call` is the record."""
        route = self._routes.get((call.method, call.path))
        return web.Response(status=404) if route is None else await route(request, call)

    async def _noop(self, _: web.BaseRequest, __: Call) -> web.Response:
        return _json({"result": "ok"})

    async def _stats(self, _: web.BaseRequest, __: Call) -> web.Response:
        return _json(self._channels.stats())

    async def _channel(self, request: web.BaseRequest, call: Call) -> web.Response:
        token = _second_word(request.headers.get("Authorization", ""))
        if not token:
            return web.Response(status=401)
        try:
            call.claims = self._believe(token)
        except TokenRefused:
            return web.Response(status=REFUSED_STATUS[self._config.dialect])
        issuer = call.claims.get("iss")
        if not issuer:
            return web.Response(status=403)
        uuid = await self._channel_uuid(call, str(issuer))
        return _json({"uuid": uuid, "url": self._url(request)})

    async def _channel_uuid(self, call: Call, issuer: str) -> str:
        channel = self._channels.find(call.remote_address, issuer)
        if channel is None:
            await asyncio.sleep(self._config.creation_delay_ms / 1000)
            web_rtc = call.query.get("webRTC") != "false"
            channel = self._channels.create(call.remote_address, issuer, web_rtc=web_rtc)
        return channel.uuid

    async def _disconnect(self, request: web.BaseRequest, call: Call) -> web.Response:
        try:
            call.claims = self._believe((await request.read()).decode())
            leaving = _sessions_by_channel(call.claims)
        except (TokenRefused, ValueError):
            return web.Response(status=422)
        for uuid, session_ids in leaving.items():
            self._channels.disconnect(uuid, session_ids, remote_address=call.remote_address)
        return web.Response()

    def _believe(self, token: str) -> Claims:
        key = self.fault.judging_key(self._config.key)
        now = self._clock() + self.fault.clock_ahead_s()
        return claims_of(token, key, self._config.dialect, now=now)

    def _remote(self, request: web.BaseRequest) -> str:
        return self._forwarded(request, "For") or request.remote or ""

    def _url(self, request: web.BaseRequest) -> str:
        scheme = self._forwarded(request, "Proto") or "http"
        host = self._forwarded(request, "Host") or self.public_host
        return f"{scheme}://{host}"

    def _forwarded(self, request: web.BaseRequest, name: str) -> str:
        """Return the first entry of `X-Forwarded-<name>`, empty without `proxy`."""
        if not self._config.proxy:
            return ""
        return request.headers.get(f"X-Forwarded-{name}", "").split(",")[0].strip()


def _second_word(authorization: str) -> str:
    """Return the token of an `Authorization` header, whatever its scheme word."""
    return authorization.partition(" ")[2].partition(" ")[0]


def _sessions_by_channel(claims: Claims) -> dict[str, list[int]]:
    """Return the claim of a disconnect token. Raises `ValueError` when it is none."""
    value = claims.get("sessionIdsByChannel")
    if not isinstance(value, dict) or not all(isinstance(ids, list) for ids in value.values()):
        raise ValueError("sessionIdsByChannel is not an object of lists")
    return value


def _json(value: Any) -> web.Response:
    return web.Response(body=json.dumps(value).encode(), content_type="application/json")
