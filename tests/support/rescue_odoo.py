"""An Odoo that has the addon, or not: it records the messages and answers as a test says."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aiohttp import web

from app.crypto.tokens import Key
from app.errors import CredentialsInvalid

Answer: TypeAlias = Callable[[dict[str, Any]], Awaitable[web.Response]]


def all_are(result: str) -> Answer:
    """Answer the same for every call."""

    async def answer(claims: dict[str, Any]) -> web.Response:
        return web.json_response({"results": dict.fromkeys(claims["uuids"], result)})

    return answer


def status(code: int) -> Answer:
    """Answer with a status alone."""

    async def answer(_: dict[str, Any]) -> web.Response:
        return web.json_response({"error": "no"}, status=code)

    return answer


async def hangs(_: dict[str, Any]) -> web.Response:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError


@dataclass
class FakeOdoo:
    """What one has been told."""

    key: Key
    answer: Answer
    base_url: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    refused: int = 0
    at_once: int = 0
    most_at_once: int = 0

    @property
    def uuids(self) -> list[str]:
        """Every uuid of every message, in order."""
        return [uuid for message in self.messages for uuid in message["uuids"]]

    async def rescue(self, request: web.Request) -> web.Response:
        """The addon's route, with the checks of the contract."""
        raw = await request.text()
        assert request.content_type == "application/jwt"
        assert len(raw) <= 8 * 1024
        try:
            claims = self.key.claims_of(raw)
        except CredentialsInvalid:
            self.refused += 1
            return web.json_response({"error": "signed with another key"}, status=401)
        assert (claims["iss"], claims["aud"]) == ("sfu-gateway", "sfu-gateway-rescue")
        assert 1 <= len(claims["uuids"]) <= 50
        assert isinstance(claims["available"], bool)
        json.dumps(claims)
        self.messages.append(dict(claims))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self.answer(dict(claims))
        finally:
            self.at_once -= 1


@asynccontextmanager
async def fake_odoo(key: Key, answer: Answer) -> AsyncIterator[FakeOdoo]:
    """Run one on a free port of loopback."""
    odoo = FakeOdoo(key, answer)
    app = web.Application()
    app.router.add_post("/sfu_gateway/rescue", odoo.rescue)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        odoo.base_url = f"http://127.0.0.1:{port}"
        yield odoo
    finally:
        await runner.cleanup()
