"""Load on replicas, as Odoo makes it: an open loop, so that slow answers do not thin the requests out."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.journeys.deployment import channel_token


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request got."""

    started_at: float
    """Seconds of the event loop's clock."""
    latency_ms: float
    status: int
    """0 when there was no answer at all."""
    url: str
    issuer: str
    retry_after: str | None
    code: str = ""
    """The problem's code, or the client's error; empty when all was well."""


@dataclass(slots=True)
class Answers:
    """What all requests got."""

    all: list[Answer] = field(default_factory=list)

    @property
    def failed(self) -> list[Answer]:
        """Requests without a channel."""
        return [answer for answer in self.all if answer.status != 200]

    @property
    def success(self) -> float:
        """Share of requests that got a channel."""
        return 1 - len(self.failed) / max(1, len(self.all))

    def since(self, moment: float) -> "Answers":
        """Only requests sent after `moment`."""
        return Answers([answer for answer in self.all if answer.started_at >= moment])

    def until(self, moment: float) -> "Answers":
        """Only requests sent before `moment`."""
        return Answers([answer for answer in self.all if answer.started_at < moment])

    def latency_ms(self, quantile: float) -> float:
        """The latency that this share of the answered requests did not exceed."""
        latencies = sorted(answer.latency_ms for answer in self.all)
        return latencies[min(len(latencies) - 1, int(quantile * len(latencies)))] if latencies else 0.0

    def max_over_mean(self) -> float:
        """How unevenly channels were spread over the SFUs that got any."""
        counts = Counter(answer.url for answer in self.all if answer.status == 200)
        return max(counts.values()) * len(counts) / counts.total() if counts else 0.0

    def statuses(self) -> str:
        """A short summary for people."""
        return ", ".join(f"{count} x {status}" for status, count in sorted(self._counts().items()))

    def _counts(self) -> Counter[int]:
        return Counter(answer.status for answer in self.all)


class Load:
    """Asks for channels at a steady rate until it is stopped."""

    def __init__(
        self,
        urls: Sequence[str],
        per_second: float,
        issuer: Callable[[int], str] = "https://odoo.example:channel:{}".format,
    ) -> None:
        self._urls = urls
        self._pause_s = 1 / per_second
        self._issuer = issuer
        self.answers = Answers()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        """Send requests for as long as the block runs, then wait for the last answers."""
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:
            sending = asyncio.create_task(self._send(session))
            try:
                yield self
            finally:
                sending.cancel()
                asking = await asyncio.gather(sending, return_exceptions=True)
                del asking
                await asyncio.gather(*self._pending)

    _pending: set[asyncio.Task[None]]

    async def _send(self, session: aiohttp.ClientSession) -> None:
        self._pending = set()
        loop = asyncio.get_running_loop()
        due = loop.time()
        for number in itertools.count():
            url = self._urls[number % len(self._urls)]
            task = asyncio.create_task(self._ask(session, url, self._issuer(number)))
            self._pending.add(task)
            task.add_done_callback(self._pending.discard)
            due += self._pause_s
            await asyncio.sleep(max(0, due - loop.time()))

    async def _ask(self, session: aiohttp.ClientSession, url: str, issuer: str) -> None:
        self.answers.all.append(await ask(session, url, issuer))


async def ask(session: aiohttp.ClientSession, url: str, issuer: str) -> Answer:
    """Ask for one channel, with Odoo's timeout of 3 s."""
    loop_time, started = asyncio.get_running_loop().time(), time.perf_counter()
    status, retry_after = 0, None
    document: dict[str, Any] = {}
    try:
        async with session.get(
            f"{url}/v1/channel",
            headers={"Authorization": f"jwt {channel_token(issuer)}"},
            timeout=aiohttp.ClientTimeout(total=3),
        ) as response:
            status, retry_after = response.status, response.headers.get("Retry-After")
            document = await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError) as error:
        document = {"code": type(error).__name__}
    latency_ms = (time.perf_counter() - started) * 1000
    where, code = document.get("url", ""), document.get("code", "")
    return Answer(loop_time, latency_ms, status, where, issuer, retry_after, code)
