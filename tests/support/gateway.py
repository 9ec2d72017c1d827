"""A gateway that only takes heartbeats, for tests of those who send them."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web


class FakeGateway:
    """Keeps every heartbeat and its headers, checks apart. Set `reply` and `status` to say what it answers.

    `checks` is what it finds when an agent asks it to try an SFU; `None` plays a gateway that does not know checks.
    """

    def __init__(self) -> None:
        self.url = ""
        self.heartbeats: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.checked: list[dict[str, Any]] = []
        self.checks: dict[str, Any] | None = {"reachable": True, "keyAccepted": True}
        self.status = 200
        self.reply: dict[str, Any] = {"status": "ok", "nextPingMs": 10_000, "draining": False}

    def statuses_of(self, address: str) -> list[str]:
        """Return `status` of each heartbeat of one SFU, oldest first."""
        return [beat["status"] for beat in self.heartbeats if beat["address"] == address]

    async def answer(self, request: web.Request) -> web.Response:
        """Take one heartbeat."""
        beat = await request.json()
        if beat["status"] == "check":
            return self._check(beat)
        self.heartbeats.append(beat)
        self.headers.append(dict(request.headers))
        return web.json_response(self.reply, status=self.status)

    def _check(self, beat: dict[str, Any]) -> web.Response:
        self.checked.append(beat)
        if self.status != 200:
            return web.json_response(self.reply, status=self.status)
        if self.checks is None:
            return web.json_response({"code": "invalid_field", "field": "status"}, status=422)
        return web.json_response(self.reply | {"checks": self.checks})


@contextlib.asynccontextmanager
async def running_gateway() -> AsyncIterator[FakeGateway]:
    """Run a fake gateway on a free port."""
    gateway = FakeGateway()
    app = web.Application()
    app.router.add_post("/v1/sfu", gateway.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        gateway.url = _address_of(runner)
        yield gateway
    finally:
        await runner.cleanup()


def _address_of(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"
