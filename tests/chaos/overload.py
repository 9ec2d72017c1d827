"""More requests than a replica can take, from a process so light that it is not what is measured.

`python -m tests.chaos.overload HOST:PORT --seconds 60 --rate 5000` sends on a schedule, answers or not (an open
loop); `--asking 32` instead of a rate keeps so many requests under way, which finds the peak (a closed loop). It
prints one JSON object (`Figures`). Times count from the moment a request is sent, or its connection begun.
"""

import argparse
import asyncio
import gc
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import uvloop

from app.crypto.tokens import Key
from tests.chaos.crowd import LANE_REQUESTS, PATIENCE_S, Crowd
from tests.journeys.deployment import GATEWAY_KEY
from tests.support.processes import Process

_ISSUERS: Final = 20_000
_TICK_S: Final = 0.001


@dataclass(frozen=True, slots=True)
class Figures:
    """What became of the requests of one process."""

    seconds: float
    due: int
    """Requests of the schedule."""
    sent: int
    served: int
    """Channels within Odoo's patience."""
    refused: int
    """Refused at the replica's door."""
    failed: dict[str, int]
    """All others: by status, or why there was none."""
    without_retry_after: int
    """Answers 503 that do not say when to come again."""
    served_ms: list[float] = field(repr=False)
    refused_ms: list[float] = field(repr=False)
    late_s: float
    """By how much the schedule was missed at most: beyond a second, the figures are the generator's own."""


async def _run(options: argparse.Namespace, requests: Sequence[bytes]) -> Figures:
    host, _, port = options.host.partition(":")
    rate, asking, seconds = options.rate, options.asking, options.seconds
    most = 1 if options.one_each else LANE_REQUESTS
    crowd = Crowd((host, int(port)), requests, repeats=bool(asking), lane_requests=most)
    started, due, late_s = crowd.now(), asking, 0.0
    for _ in range(asking):
        crowd.ask(started)
    while (elapsed := crowd.now() - started) < seconds:
        late_s = max(late_s, elapsed - due / rate if rate else 0)
        while rate and due < rate * elapsed:
            crowd.ask(started + due / rate)
            due += 1
        crowd.give_up()
        await asyncio.sleep(_TICK_S)
    crowd.is_over = True
    while not crowd.is_answered and crowd.now() < started + seconds + PATIENCE_S + 0.1:
        crowd.give_up()
        await asyncio.sleep(_TICK_S)
    tally = crowd.tally
    return Figures(
        seconds, tally.sent if asking else due, tally.sent, len(tally.served_ms), len(tally.refused_ms),
        dict(+tally.failed), tally.without_retry_after, tally.served_ms, tally.refused_ms, late_s,
    )  # fmt: skip


def _requests(host: str, name: str) -> list[bytes]:
    """Return requests of many issuers, with tokens that outlast the run."""
    key, until = Key.from_base64(GATEWAY_KEY), int(time.time()) + 600
    tokens = (key.sign({"iss": f"{name}:{number}", "exp": until}) for number in range(_ISSUERS))
    head = "GET /v1/channel HTTP/1.1\r\nHost: {}\r\nAuthorization: jwt {}\r\n\r\n"
    return [head.format(host, token).encode() for token in tokens]


def crowd_process(host: str, log: Path, *options: str) -> Process:
    """Return a process that asks; `figures_of` reads what it has measured."""
    argv = [sys.executable, "-m", "tests.chaos.overload", host, "--name", log.stem, *options]
    return Process(argv, log=log)


def figures_of(process: Process, timeout_seconds: float) -> Figures:
    """Wait for a process that asks and return what it has measured."""
    assert process.wait(timeout_seconds) == 0, process.output
    return Figures(**json.loads(process.output))


def main() -> None:
    """Ask as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.overload", description=main.__doc__)
    parser.add_argument("host", help="HOST:PORT")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--name", default="crowd", help="makes the issuers of several processes differ")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--rate", type=float, default=0, help="open loop: requests per second")
    how.add_argument("--asking", type=int, default=0, help="closed loop: requests under way")
    parser.add_argument("--one-each", action="store_true", help="each request on a connection of its own")
    options = parser.parse_args()
    requests = _requests(options.host, options.name)
    gc.disable()  # its pauses would look like the replica's
    figures = uvloop.run(_run(options, requests))
    sys.stdout.write(json.dumps(asdict(figures)))


if __name__ == "__main__":
    main()
