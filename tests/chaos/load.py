"""Load on replicas, as Odoo makes it: an open loop, so that slow answers do not thin the requests out.

`python -m tests.chaos.load URL... --seconds 5 --rate 2000` does the same from a process of its own, and
`--asking 32` instead of a rate is a closed loop: as fast as that many callers get answers. It prints one JSON
object (`Summary`).
"""

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from tests.journeys.deployment import channel_token
from tests.support.processes import Process


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
        """Take the replicas' base URLs, asked in turn, and what the n-th request's issuer is."""
        self._urls = urls
        self._pause_s = 1 / per_second
        self._issuer = issuer
        self.answers = Answers()
        self.late_s = 0.0
        """By how much the latest request of all was sent too late: then this process is what is overloaded."""

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
            self.late_s = max(self.late_s, loop.time() - due)
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


@dataclass(frozen=True, slots=True)
class Summary:
    """What a load process tells."""

    seconds: float
    sent: int
    served: int
    busy: int
    """Refused at the replica's door."""
    failed: dict[str, int]
    """All others, by status and code."""
    without_retry_after: int
    """Refusals, of any kind, that do not say when to come again."""
    served_p50_ms: float
    served_p99_ms: float
    busy_p50_ms: float
    busy_p99_ms: float
    late_s: float
    """By how much an open loop fell behind: beyond a second, the figures are its own and not the replica's."""

    @property
    def goodput(self) -> float:
        """Channels per second."""
        return self.served / self.seconds


def summary_of(answers: Answers, seconds: float, late_s: float) -> Summary:
    """Return what became of all requests of so many seconds."""
    served = Answers([answer for answer in answers.all if answer.status == 200])
    busy = Answers([answer for answer in answers.all if (answer.status, answer.code) == (503, "overloaded")])
    others = (answer for answer in answers.failed if (answer.status, answer.code) != (503, "overloaded"))
    return Summary(
        seconds,
        len(answers.all),
        len(served.all),
        len(busy.all),
        dict(Counter(f"{answer.status} {answer.code}".strip() for answer in others)),
        sum(answer.status == 503 and not answer.retry_after for answer in answers.all),
        served.latency_ms(0.5),
        served.latency_ms(0.99),
        busy.latency_ms(0.5),
        busy.latency_ms(0.99),
        late_s,
    )


def load_process(urls: Sequence[str], log: Path, *options: str) -> Process:
    """Return a process that makes load; `summary_from` reads what it has measured."""
    return Process([sys.executable, "-m", "tests.chaos.load", *urls, *options], log=log)


def summary_from(process: Process, timeout_seconds: float) -> Summary:
    """Wait for a load process and return what it has measured."""
    assert process.wait(timeout_seconds) == 0, process.output
    return Summary(**json.loads(process.output))


async def _ask_in_turn(
    session: aiohttp.ClientSession, urls: Sequence[str], who: str, until: float
) -> Answers:
    """One caller of a closed loop."""
    answers, loop = Answers(), asyncio.get_running_loop()
    for number in itertools.count():
        if loop.time() >= until:
            break
        answers.all.append(await ask(session, urls[number % len(urls)], f"{who}:{number}"))
    return answers


async def _closed_loop(urls: Sequence[str], asking: int, seconds: float, name: str) -> Summary:
    until = asyncio.get_running_loop().time() + seconds
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), trust_env=False) as session:
        parts = await asyncio.gather(
            *(_ask_in_turn(session, urls, f"{name}:{caller}", until) for caller in range(asking))
        )
    return summary_of(Answers([answer for part in parts for answer in part.all]), seconds, late_s=0)


async def _open_loop(urls: Sequence[str], rate: float, seconds: float, name: str) -> Summary:
    async with Load(urls, rate, lambda number: f"{name}:{number}").running() as load:
        await asyncio.sleep(seconds)
    return summary_of(load.answers, seconds, load.late_s)


def main() -> None:
    """Make load as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.load", description=main.__doc__)
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--name", default="load", help="makes the issuers of several processes differ")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--rate", type=float, help="open loop: requests per second")
    how.add_argument("--asking", type=int, help="closed loop: callers at once")
    options = parser.parse_args()
    if options.rate:
        running = _open_loop(options.urls, options.rate, options.seconds, options.name)
    else:
        running = _closed_loop(options.urls, options.asking, options.seconds, options.name)
    print(json.dumps(asdict(uvloop.run(running))))  # noqa: T201 - it is the result


if __name__ == "__main__":
    main()
