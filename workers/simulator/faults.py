"""What can be wrong with an SFU, as values that answer requests in its place.

As JSON, a fault is an object with its name and its parameters: `{"fault": "delay", "ms": 300}`. Every fault
may carry `route` (only requests of that path suffer) and `seconds` (it ends by itself after that long).
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Annotated, Final, Literal, TypeAlias

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from app.crypto.tokens import Key

Serve: TypeAlias = Callable[[], Awaitable[web.Response]]
"""Gives the answer of a healthy SFU."""

LINK_LOCAL_URL: Final = "http://169.254.169.254/latest/meta-data/"
BLOCK_BYTES: Final = 64 * 1024


class Fault(BaseModel, ABC):
    """A way to fail: on one `route`, or on all when that is empty; for `seconds`, or until mended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    route: str = ""
    seconds: float | None = Field(None, gt=0)

    def applies_to(self, path: str) -> bool:
        """Whether a request of `path` suffers."""
        return self.route in ("", path)

    def clock_ahead_s(self) -> float:
        """Return by how many seconds the SFU's clock is ahead."""
        return 0.0

    def judging_key(self, own: Key) -> Key:
        """Return the key with which the SFU judges tokens; `own` is the one that it reports."""
        return own

    @abstractmethod
    async def answer(self, request: web.BaseRequest, serve: Serve) -> web.StreamResponse:
        """Answer `request` in this fault's way; `serve` gives the healthy answer."""


class NoFault(Fault):
    """Healthy."""

    fault: Literal["none"] = "none"

    async def answer(self, request: web.BaseRequest, serve: Serve) -> web.StreamResponse:
        return await serve()


class WrongKey(Fault):
    """Healthy, but for a key that is not the one it reports."""

    fault: Literal["wrong-key"] = "wrong-key"

    def judging_key(self, own: Key) -> Key:
        return Key(b"not " + own.secret)

    async def answer(self, request: web.BaseRequest, serve: Serve) -> web.StreamResponse:
        return await serve()


class WrongClock(Fault):
    """Healthy, but for a clock that is `seconds_ahead`."""

    fault: Literal["clock"] = "clock"
    seconds_ahead: float

    def clock_ahead_s(self) -> float:
        return self.seconds_ahead

    async def answer(self, request: web.BaseRequest, serve: Serve) -> web.StreamResponse:
        response = await serve()
        response.headers["Date"] = formatdate(time.time() + self.seconds_ahead, usegmt=True)
        return response


class Delay(Fault):
    """The right answer, `ms` milliseconds late."""

    fault: Literal["delay"] = "delay"
    ms: float = Field(ge=0)

    async def answer(self, request: web.BaseRequest, serve: Serve) -> web.StreamResponse:
        await asyncio.sleep(self.ms / 1000)
        return await serve()


class Hang(Fault):
    """Takes the request and never answers."""

    fault: Literal["hang"] = "hang"

    async def answer(self, request: web.BaseRequest, serve: Serve) -> web.StreamResponse:
        never: asyncio.Future[web.StreamResponse] = asyncio.get_running_loop().create_future()
        return await never


class Status(Fault):
    """An empty body with `status`."""

    fault: Literal["status"] = "status"
    status: int = Field(500, ge=200, le=599)

    async def answer(self, request: web.BaseRequest, serve: Serve) -> web.StreamResponse:
        return web.Response(status=self.status)


class Garbage(Fault):
    """200 with a body that calls itself JSON and is not."""

    fault: Literal["garbage"] = "garbage"

    async def answer(self, request: web.BaseRequest, serve: Serve) -> web.StreamResponse:
        return web.Response(body=b"<html>\xff\x00 not JSON", content_type="application/json")


class NoUuid(Fault):
    """200 with a JSON object that has a url and no uuid."""

    fault: Literal["no-uuid"] = "no-uuid"

    async def answer(self, request: web.BaseRequest, serve: Serve) -> web.StreamResponse:
        return web.json_response({"url": "http://sfu.invalid"})


class Reset(Fault):
    """Takes the request and resets its connection."""

    fault: Literal["reset"] = "reset"

    async def answer(self, request: web.BaseRequest, serve: Serve) -> web.StreamResponse:
        return _reset(request)


class Refuse(Fault):
    """Connection refused: the SFU closes its listener, and resets open connections when they are used."""

    fault: Literal["refuse"] = "refuse"

    async def answer(self, request: web.BaseRequest, serve: Serve) -> web.StreamResponse:
        return _reset(request)


class Drip(Fault):
    """The right answer, `bytes_per_second` bytes a second."""

    fault: Literal["drip"] = "drip"
    bytes_per_second: float = Field(1.0, gt=0)

    async def answer(self, request: web.BaseRequest, serve: Serve) -> web.StreamResponse:
        whole = await serve()
        body = (whole.text or "").encode()
        response = web.StreamResponse(status=whole.status, headers={"Content-Length": str(len(body))})
        response.content_type = whole.content_type
        await response.prepare(request)
        for offset in range(len(body)):
            await response.write(body[offset : offset + 1])
            await asyncio.sleep(1 / self.bytes_per_second)
        return response


class Huge(Fault):
    """200 with a body of `size_bytes` blanks, in chunks, so that no length warns the reader."""

    fault: Literal["huge"] = "huge"
    size_bytes: int = Field(1024**3, ge=1)

    async def answer(self, request: web.BaseRequest, serve: Serve) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type = "application/json"
        await response.prepare(request)
        blank = b" " * BLOCK_BYTES
        for offset in range(0, self.size_bytes, BLOCK_BYTES):
            await response.write(blank[: self.size_bytes - offset])
        return response


class Redirect(Fault):
    """302 to `location`, by default an address that a gateway must never visit."""

    fault: Literal["redirect"] = "redirect"
    location: str = LINK_LOCAL_URL

    async def answer(self, request: web.BaseRequest, serve: Serve) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": self.location})


def _reset(request: web.BaseRequest) -> web.Response:
    """Reset the connection; the answer goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


AnyFault: TypeAlias = Annotated[
    NoFault
    | WrongKey
    | WrongClock
    | Delay
    | Hang
    | Status
    | Garbage
    | NoUuid
    | Refuse
    | Reset
    | Drip
    | Huge
    | Redirect,
    Field(discriminator="fault"),
]

FAULT_JSON: Final[TypeAdapter[AnyFault]] = TypeAdapter(AnyFault)
"""Reads a fault from JSON; raises `pydantic.ValidationError`."""
