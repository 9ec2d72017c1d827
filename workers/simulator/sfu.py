"""One simulated SFU: a real listener with the API of a real SFU, faults on demand, and heartbeats.

Beside the SFU's API it answers control requests, which no fault affects:

    GET  /_sim/state        its address, region, figures, fault, and how many requests came by path
    POST /_sim/fault        {"fault": "delay", "ms": 300, "route": "/v1/channel", "seconds": 5}
                            none | delay (ms) | hang | status (status) | garbage | no-uuid | refuse | reset
                            | drip (bytes_per_second) | huge (size_bytes) | redirect (location)
                            | wrong-key | clock (seconds_ahead);
                            route and seconds are optional for all of them
    POST /_sim/figures      {"channels": 3, "sessions": 9, "cpuUsage": 0.5, "memoryUsage": 0.4}; null lets go
    POST /_sim/heartbeats   {"silent": true} or {"silent": false}

Each POST answers with the state, or 422 when it cannot be read. While `refuse` lasts no new connection
reaches the control routes either: give it `seconds`, or keep a connection open.
"""

import asyncio
import functools
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, TypeAlias

from aiohttp import web
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from app.crypto.tokens import Key
from workers.gateway_link import GatewayLink, Payload
from workers.heartbeats import Heartbeats
from workers.simulator.api import ApiConfig, Call, SfuApi
from workers.simulator.channels import DEFAULT_CAPACITY, ChannelBook, Figures, People
from workers.simulator.faults import FAULT_JSON, Fault, NoFault, Refuse
from workers.simulator.listener import Listener
from workers.simulator.tokens import Dialect

FIGURES_JSON: Final[TypeAdapter[Figures | None]] = TypeAdapter(Figures | None)


class Silence(BaseModel):
    """The body of `POST /_sim/heartbeats`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    silent: bool


@dataclass(frozen=True, slots=True)
class SfuConfig:
    """One simulated SFU. `port` 0 takes a free one; `public_ip` (default: the host) is what `url` names.

    `max_sessions` and `public_url` are reported in heartbeats when set. `proxy` and `creation_delay_ms`:
    see `workers.simulator.api.ApiConfig`.
    """

    key: Key
    region: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    public_ip: str = ""
    public_url: str = ""
    max_sessions: int | None = None
    dialect: Dialect = "odoo"
    proxy: bool = False
    creation_delay_ms: float = 3.0
    people: People = field(default_factory=People)


_Control: TypeAlias = Callable[[bytes], Awaitable[None]]


class SimulatedSfu:
    """An SFU in this process; any number of them share one event loop.

    `start` it, then use `address`. It keeps its port over `stop`, `kill` and another `start`, forgets its channels
    as a restarted SFU does, and has another `instance` then. `draining` is the SFU's own wish, told to the gateway;
    what the gateway told the SFU is `heartbeats.is_told_to_drain`.
    """

    def __init__(
        self,
        config: SfuConfig,
        *,
        random: Random,
        clock: Callable[[], float],
        link: GatewayLink | None = None,
    ) -> None:
        """`clock` is in seconds since the epoch."""
        self.config = config
        self.draining = False
        self.instance = secrets.token_hex(8)
        self.fault: Fault = NoFault()
        capacity = config.max_sessions or DEFAULT_CAPACITY
        self.channels = ChannelBook(config.people, clock=clock, random=random, capacity=capacity)
        self.api = SfuApi(_api_config(config), self.channels, clock=clock)
        self.heartbeats = None if link is None else Heartbeats(self._report, link, clock=clock, random=random)
        self._listener = Listener(config.host, config.port, self._answer)
        self._fixed: Figures | None = None
        self._recovery: asyncio.Task[None] | None = None
        self._controls: dict[tuple[str, str], _Control] = {
            ("GET", "/_sim/state"): self._control_nothing,
            ("POST", "/_sim/fault"): self._control_fault,
            ("POST", "/_sim/figures"): self._control_figures,
            ("POST", "/_sim/heartbeats"): self._control_heartbeats,
        }

    @property
    def port(self) -> int:
        """The port it listens on; before the first `start`, the configured one."""
        return self._listener.port

    @property
    def address(self) -> str:
        """Where the gateway reaches this SFU."""
        return f"http://{self.config.host}:{self.port}"

    @property
    def key_text(self) -> str:
        """The SFU's secret key as base64, as heartbeats carry it."""
        return self.config.key.to_base64()

    @property
    def calls(self) -> list[Call]:
        """The last requests that came in, oldest first, control requests left out."""
        return list(self.api.calls)

    async def start(self) -> None:
        """Listen, then send heartbeats when there is a gateway. Raises `OSError` when the port is taken."""
        await self.listen()
        self.speak()

    async def listen(self) -> None:
        """Answer HTTP, without heartbeats yet."""
        await self._listener.open()
        self.api.public_host = f"{self.config.public_ip or self.config.host}:{self.port}"

    async def stop(self) -> None:
        """Sign off, then close everything. A killed or silenced SFU does not sign off."""
        if self.heartbeats is not None:
            await self.heartbeats.sign_off()
        self.kill()
        await self._listener.close()

    def kill(self) -> None:
        """Vanish as by `kill -9`: no sign-off, all connections reset, all channels lost."""
        self.silence()
        self._cancel_recovery()
        self._listener.abort()
        self.fault = self.api.fault = NoFault()
        self.channels.clear()
        self.instance = secrets.token_hex(8)

    def silence(self) -> None:
        """Send no more heartbeats, and go on serving."""
        if self.heartbeats is not None:
            self.heartbeats.halt()

    def speak(self) -> None:
        """Send heartbeats (again), the first one now."""
        if self.heartbeats is not None:
            self.heartbeats.start()

    async def set_fault(self, fault: Fault) -> None:
        """Fail in this way from now on, or until `fault.seconds` have passed; `NoFault()` mends."""
        self._cancel_recovery()
        await self._apply(fault)
        if fault.seconds is not None:
            self._recovery = asyncio.create_task(self._recover_after(fault.seconds))

    def fix_figures(self, figures: Figures | None) -> None:
        """Report these figures instead of the real ones; `None` ends that. `/v1/stats` stays true."""
        self._fixed = figures

    @property
    def has_fixed_figures(self) -> bool:
        """Whether it reports what it was told to."""
        return self._fixed is not None

    def figures(self) -> Figures:
        """Return what a heartbeat of this moment reports."""
        return self._fixed or self.channels.figures()

    def state(self) -> dict[str, Any]:
        """Return what `GET /_sim/state` shows: nothing secret."""
        return {
            "address": self.address,
            "region": self.config.region,
            "fault": self.fault.model_dump(exclude_none=True),
            "draining": self.draining,
            "toldToDrain": self.heartbeats is not None and self.heartbeats.is_told_to_drain,
            "requests": dict(self.api.counts),
            **self.figures().model_dump(by_alias=True),
        }

    def _report(self) -> Payload:
        optional = {
            "maxSessions": self.config.max_sessions,
            "publicUrl": self.config.public_url,
            "draining": self.draining,
            "instance": self.instance,
        }
        return {
            "address": self.address,
            "region": self.config.region,
            "key": self.key_text,
            **self.figures().model_dump(by_alias=True),
            **{name: value for name, value in optional.items() if value},
        }

    async def _apply(self, fault: Fault) -> None:
        self.fault = self.api.fault = fault
        if isinstance(fault, Refuse):
            self._listener.refuse()
        else:
            await self._listener.open()

    async def _recover_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._apply(NoFault())

    def _cancel_recovery(self) -> None:
        if self._recovery is not None:
            self._recovery.cancel()
            self._recovery = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        control = self._controls.get((request.method, request.path))
        if control is not None:
            return await self._answer_control(request, control)
        call = self.api.record(request)
        if self.fault.applies_to(call.path):
            return await self.fault.answer(request, functools.partial(self.api.respond, request, call))
        return await self.api.respond(request, call)

    async def _answer_control(self, request: web.BaseRequest, control: _Control) -> web.Response:
        try:
            await control(await request.read())
        except ValidationError as error:
            return web.Response(status=422, text=str(error))
        return web.json_response(self.state())

    async def _control_nothing(self, _: bytes) -> None:
        """Change nothing: `GET /_sim/state` only wants the answer."""

    async def _control_fault(self, body: bytes) -> None:
        await self.set_fault(FAULT_JSON.validate_json(body))

    async def _control_figures(self, body: bytes) -> None:
        self.fix_figures(FIGURES_JSON.validate_json(body))

    async def _control_heartbeats(self, body: bytes) -> None:
        if Silence.model_validate_json(body).silent:
            self.silence()
        else:
            self.speak()


def _api_config(config: SfuConfig) -> ApiConfig:
    return ApiConfig(config.key, config.dialect, config.proxy, config.creation_delay_ms)
