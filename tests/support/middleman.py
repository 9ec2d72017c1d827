"""A server in front of another one, which breaks what passes through."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import aiohttp
from aiohttp import web

from tests.support.ports import HOST


@dataclass(frozen=True)
class Asked:
    """A request on its way to the real peer."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The body as a JSON object; empty when it is none."""
        return _object_in(self.body)


@dataclass(frozen=True)
class Answered:
    """An answer on its way back."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def document(self) -> dict[str, Any]:
        """The body as a JSON object; empty when it is none."""
        return _object_in(self.body)


Forward: TypeAlias = Callable[[Asked], Awaitable[Answered]]
Sabotage: TypeAlias = Callable[[Asked, Forward], Awaitable[Answered]]


@contextlib.asynccontextmanager
async def middleman(url: str, sabotage: Sabotage) -> AsyncIterator[str]:
    """Stand in front of the peer at `url`."""
    async with aiohttp.ClientSession() as session:

        async def forward(asked: Asked) -> Answered:
            async with session.request(
                asked.method, url + asked.path, headers=asked.headers, data=asked.body
            ) as answer:
                headers = {
                    name: value
                    for name, value in answer.headers.items()
                    if name in ("Content-Type", "WWW-Authenticate")
                }
                return Answered(answer.status, await answer.read(), headers)

        async def answer(request: web.BaseRequest) -> web.Response:
            passed_on = ("Authorization", "Content-Type")
            headers = {name: request.headers[name] for name in passed_on if name in request.headers}
            asked = Asked(request.method, str(request.rel_url), headers, await request.read())
            answered = await sabotage(asked, forward)
            return web.Response(status=answered.status, body=answered.body, headers=answered.headers)

        server = web.Server(answer, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, 0).start()
            yield f"http://{HOST}:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


def changing(change: Callable[[Asked, Answered], Answered]) -> Sabotage:
    """Change the answers."""

    async def sabotage(asked: Asked, forward: Forward) -> Answered:
        return change(asked, await forward(asked))

    return sabotage


def instead(condition: Callable[[Asked], object], answered: Answered) -> Sabotage:
    """Answer `answered`, without asking anybody, where `condition` is true."""

    async def sabotage(asked: Asked, forward: Forward) -> Answered:
        return answered if condition(asked) else await forward(asked)

    return sabotage


def _object_in(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
