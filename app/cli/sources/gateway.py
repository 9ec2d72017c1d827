"""Commands that ask a gateway: from anywhere, with the admin token for what operators alone may do."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httpx

from app.api.schemas import Diagnosis, Explanation, Health, Sfu
from app.cli.exits import CommandError, Exit
from app.cli.sources.source import PlacementQuery
from app.events.event import Event

_TIMEOUT_S: Final = 10.0
_SILENCE_S: Final = 1.0
"""A stream that replays history says nothing for so long only when it is through."""

_RECONNECT_S: Final = 1.0

_GIVE_IT: Final = "; give the gateway's admin_token with --admin-token or SFU_GATEWAY_ADMIN_TOKEN"
_FIXES: Final = {
    "credentials_missing": _GIVE_IT,
    "credentials_invalid": _GIVE_IT,
    "closed": "; the gateway needs SFU_GATEWAY_ADMIN_TOKEN for it, or ask its Redis with --redis",
}
"""What to do about a problem, by its code."""


@asynccontextmanager
async def gateway_source(url: str, admin_token: str) -> AsyncIterator["GatewaySource"]:
    """Give a source on the gateway at `url`. Raises `CommandError` when it does not answer."""
    headers = {"Authorization": f"Bearer {admin_token}"} if admin_token else {}
    url = url if "://" in url else f"http://{url}"
    try:
        urlsplit(url).port  # noqa: B018 - raises when it is none; httpx raises what is no error of its own
    except ValueError as error:
        raise CommandError(f"--gateway: {error}", Exit.USAGE) from None
    try:
        async with httpx.AsyncClient(
            base_url=url, headers=headers, timeout=_TIMEOUT_S, trust_env=False
        ) as client:
            yield GatewaySource(client)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise CommandError(f"--gateway: {error}", Exit.USAGE) from None
    except httpx.HTTPError as error:
        detail = f"{url} does not answer ({_cause(error)}): check that it runs, and the URL of --gateway"
        raise CommandError(detail, Exit.UNREACHABLE) from None


class GatewaySource:
    """One gateway's routes."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def sfus(self) -> list[Sfu]:
        """Return every SFU; a gateway without a selectable one answers 503 and lists them all the same."""
        response = await self._client.get("/v1/health", headers={"Accept": "application/json"})
        return Health.model_validate(_document(response, accept={200, 503})).sfus

    async def diagnosis(self) -> Diagnosis:
        """Ask the gateway."""
        return Diagnosis.model_validate(_document(await self._client.get("/v1/diagnosis")))

    async def explain(self, question: PlacementQuery) -> Explanation:
        """Ask the gateway."""
        asked = {
            "region": question.region,
            "country": question.country,
            "issuer": question.issuer,
            "tenant": question.tenant,
        }
        query = {name: value for name, value in asked.items() if value}
        response = await self._client.get("/v1/admin/explain", params=query)
        return Explanation.model_validate(_document(response))

    async def drain(self, address: str, deadline_ms: int, *, move: bool) -> None:
        """Drain."""
        await self._order("drain", {"address": address, "deadlineMs": deadline_ms, "move": move})

    async def resume(self, address: str) -> None:
        """Resume."""
        await self._order("resume", {"address": address})

    async def reset(self, address: str) -> None:
        """Reset."""
        await self._order("reset", {"address": address})

    async def forget(self, address: str) -> None:
        """Forget."""
        await self._order("forget", {"address": address})

    async def _order(self, name: str, document: dict[str, Any]) -> None:
        _document(await self._client.post(f"/v1/admin/sfus/{name}", json=document))

    async def events(self, after: str | None, *, follow: bool) -> AsyncGenerator[Event]:
        """Read the gateway's event stream; while following, go on after a broken connection."""
        is_reconnecting = False
        while True:
            try:
                async with aclosing(self._stream(after, None if follow else _SILENCE_S)) as events:
                    async for event in events:
                        yield event
                        after = event["id"]
            except httpx.HTTPError:
                if not follow or not (after or is_reconnecting):
                    raise
            if not follow:
                return
            is_reconnecting = True
            await asyncio.sleep(_RECONNECT_S)

    async def _stream(self, after: str | None, silence_s: float | None) -> AsyncGenerator[Event]:
        """Yield events until the stream ends, or says nothing for `silence_s` seconds."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        timeout = httpx.Timeout(_TIMEOUT_S, read=None)
        async with self._client.stream("GET", "/v1/events", headers=headers, timeout=timeout) as response:
            if response.status_code != 200:
                await response.aread()
                _document(response)
            lines = response.aiter_lines()
            while True:
                try:
                    async with asyncio.timeout(silence_s):
                        line = await anext(lines)
                except (TimeoutError, StopAsyncIteration):
                    return
                if line.startswith("data:"):
                    yield cast("Event", json.loads(line.removeprefix("data:")))


def _document(response: httpx.Response, accept: frozenset[int] | set[int] = frozenset({200})) -> Any:
    """Return the JSON of an accepted answer. Raises `CommandError` with the problem's own words."""
    try:
        document = response.json()
    except ValueError:
        raise CommandError(f"{response.url} answered {response.status_code}, and not as a gateway") from None
    if response.status_code in accept and "code" not in document:
        return document
    problem = document if isinstance(document, dict) else {}
    fix = _FIXES.get(problem.get("code", ""), "")
    origin = response.url.copy_with(path="/", query=None)
    raise CommandError(
        f"{str(origin).rstrip('/')} answered {response.status_code}: {problem.get('detail', '')}{fix}",
        Exit.UNREACHABLE if response.status_code >= 500 else Exit.REFUSED,
    )


def _cause(error: httpx.HTTPError) -> str:
    """What happened, in the system's words where it has any."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno).lower() if cause.errno > 0 else str(cause.strerror)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
