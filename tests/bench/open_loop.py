"""Requests at times decided beforehand: `python -m tests.bench.open_loop URL FILE RATE SECONDS [--new]`.

A client that waits for each answer before it asks again stops asking while the server stalls, and so leaves the
stall out of its figures ("coordinated omission"). Here the schedule is a Poisson process made in advance, and a
request's latency counts from the moment it was due, whether it could be sent then or had to wait for a connection.
With `--new` each request has a connection of its own, opened when it is due.
"""

import asyncio
import contextlib
import gc
import json
import random
import selectors
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlsplit

import httptools

from tests.bench.http_load import Call

LANES: Final = 128
"""Connections, used in turn, so that none is idle for long enough to be closed."""
MOST_NEW: Final = 512
"""Connections at once where each request has a new one; `select` takes 1,024. More wait, from when they were due."""
SETTLE_S: Final = 1.0
"""Requests due in the first second are sent and not counted."""
GIVE_UP_S: Final = 5.0


@dataclass(slots=True)
class Outcome:
    """What became of the requests that count, in milliseconds."""

    latencies_ms: list[float] = field(default_factory=list)
    """Answered with success, from the moment they were due."""
    late_ms: list[float] = field(default_factory=list)
    """How long after it was due each request was sent: the generator's own share, and waiting for a connection."""
    failed: int = 0


def schedule_of(rate: float, seconds: float, seed: int = 1) -> list[float]:
    """Return when requests are due, in seconds from the start: `rate` per second on average, Poisson."""
    dice, due, times = random.Random(seed), 0.0, list[float]()
    while (due := due + dice.expovariate(rate)) < seconds:
        times.append(due)
    return times


class Lane(asyncio.Protocol):
    """One connection, with one request under way at most."""

    def __init__(self, generator: "Generator") -> None:
        self._generator = generator
        self._number: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start with a fresh parser."""
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)

    def send(self, number: int, request: bytes) -> None:
        """Send a request; `number` says which."""
        self._number = number
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Read a part of an answer."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Tell of the answer; the lane is free."""
        number, self._number = self._number, None
        if number is not None:
            self._generator.answered(self, number, is_good=self._parser.get_status_code() < 300)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell of the loss."""
        self._generator.lost(self, self._number)

    def close(self) -> None:
        """Close without being told."""
        self._transport.abort()


class Generator:
    """Sends requests at their times."""

    def __init__(
        self,
        address: tuple[str, int],
        requests: Sequence[bytes],
        schedule: Sequence[float],
        *,
        is_new_each: bool = False,
    ) -> None:
        self._is_new_each = is_new_each
        self._address = address
        self._requests = requests
        self._schedule = schedule
        self._idle: deque[Lane] = deque()
        self._waiting: deque[int] = deque()
        self._open = 0
        self._outcome = Outcome()
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(MOST_NEW)
        self._all_sent = False
        self._all_answered = asyncio.Event()
        self._is_over = False

    async def run(self) -> Outcome:
        """Send everything, wait for what is still under way, and say how it went."""
        loop = asyncio.get_running_loop()
        if not self._is_new_each:
            await asyncio.gather(*(self._connect() for _ in range(LANES)))
        self._started = loop.time()
        for number, due in enumerate(self._schedule):
            wait = self._started + due - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            elif number % 16 == 0:  # behind: answers must be read, too
                await asyncio.sleep(0)
            self._open += 1
            self._waiting.append(number)
            if self._is_new_each:
                self._start(self._connect_and_send())
            else:
                self._send()
        self._all_sent = True
        if self._open:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_answered.wait(), GIVE_UP_S)
        self._is_over = True
        self._outcome.failed += self._open
        for lane in self._idle:
            lane.close()
        return self._outcome

    async def _connect(self) -> None:
        _, lane = await asyncio.get_running_loop().create_connection(lambda: Lane(self), *self._address)
        self._idle.append(lane)

    async def _connect_and_send(self) -> None:
        await self._places.acquire()
        await self._connect()
        self._send()

    def _send(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._idle and self._waiting:
            number = self._waiting.popleft()
            if self._counts(number):
                self._outcome.late_ms.append(self._since_due(number, now))
            self._idle.popleft().send(number, self._requests[number % len(self._requests)])

    def answered(self, lane: Lane, number: int, *, is_good: bool) -> None:
        """A request was answered."""
        self._end_one()
        if self._counts(number):
            if is_good:
                now = asyncio.get_running_loop().time()
                self._outcome.latencies_ms.append(self._since_due(number, now))
            else:
                self._outcome.failed += 1
        if self._is_new_each:
            lane.close()
            self._places.release()
            return
        self._idle.append(lane)
        self._send()

    def lost(self, lane: Lane, number: int | None) -> None:
        """A connection is gone, with the request that was under way on it."""
        if self._is_over:
            return
        if lane in self._idle:
            self._idle.remove(lane)
        if number is not None:
            self._end_one()
            self._outcome.failed += self._counts(number)
        if not self._is_new_each:
            self._start(self._connect())
        elif number is not None:
            self._places.release()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _end_one(self) -> None:
        self._open -= 1
        if self._all_sent and self._open == 0:
            self._all_answered.set()

    def _counts(self, number: int) -> bool:
        return self._schedule[number] >= SETTLE_S

    def _since_due(self, number: int, now: float) -> float:
        return (now - self._started - self._schedule[number]) * 1000


def request_bytes(call: Call, host: str) -> bytes:
    """Return a request as it goes over the wire."""
    head = f"{call.method} {call.path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {call.authorization}\r\n"
    body = call.body.encode()
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def precise_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop that wakes to the microsecond: epoll, and so uvloop, only does to the millisecond."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def ask(url: str, calls: Sequence[Call], rate: float, seconds: int, *, is_new_each: bool = False) -> Outcome:
    """Run the generator in a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "calls.tsv")
        file.write_text("\n".join(map(str, calls)) + "\n")
        argv = [sys.executable, "-m", "tests.bench.open_loop", url, str(file), str(rate), str(seconds)]
        argv += ["--new"] if is_new_each else []
        said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return Outcome(**json.loads(said))


def main() -> None:
    """Send, and print the outcome as JSON."""
    url, file, rate, seconds, *options = sys.argv[1:]
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or 80)
    calls = [Call(*line.split("\t")) for line in Path(file).read_text().splitlines()]
    requests = [request_bytes(call, parts.netloc) for call in calls]
    schedule = schedule_of(float(rate), float(seconds))
    generator = Generator(address, requests, schedule, is_new_each="--new" in options)
    gc.disable()  # its pauses would look like the server's
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        outcome = runner.run(generator.run())
    sys.stdout.write(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
