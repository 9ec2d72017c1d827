"""Requests as fast as a replica answers them, from a process of its own: `wrk`, or where it is missing this
module (`python -m tests.bench.http_load URL FILE SECONDS CONNECTIONS`), which is slower and says the same.
"""

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Final

import aiohttp

CONNECTIONS: Final = 32

_SECONDS_IN: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}

_WRK_SCRIPT: Final = """
local requests, last = {}, 0
function init(args)
  for line in io.lines(args[1]) do
    local method, path, authorization, body = line:match('^(.-)\\t(.-)\\t(.-)\\t(.*)$')
    requests[#requests + 1] = wrk.format(method, path, { ['Authorization'] = authorization }, body)
  end
end
function request()
  last = last % #requests + 1
  return requests[last]
end
"""


@dataclass(frozen=True, slots=True)
class Call:
    """One request; its texts have neither tabs nor line ends."""

    method: str
    path: str
    authorization: str = ""
    body: str = ""

    def __str__(self) -> str:
        return f"{self.method}\t{self.path}\t{self.authorization}\t{self.body}"


@dataclass(frozen=True, slots=True)
class Driven:
    """How many requests were answered in so many seconds."""

    answered: int
    failed: int
    """Of these, how many not with success; and connections that broke."""
    seconds: float


def has_wrk() -> bool:
    """Whether `wrk` sends the requests."""
    return shutil.which("wrk") is not None


def drive(url: str, calls: Sequence[Call], seconds: int) -> int:
    """Send `calls` in turn for so many seconds; return how many were answered.

    Raises:
        AssertionError: an answer was not a success.
    """
    done = drive_hard(url, calls, seconds, CONNECTIONS)
    assert done.failed == 0, done
    return done.answered


def drive_hard(url: str, calls: Sequence[Call], seconds: int, connections: int) -> Driven:
    """Send `calls` in turn for so many seconds, one at a time on each of the connections."""
    with tempfile.TemporaryDirectory() as directory:
        file, script = Path(directory, "calls.tsv"), Path(directory, "calls.lua")
        file.write_text("\n".join(map(str, calls)) + "\n")
        script.write_text(_WRK_SCRIPT)
        wrk = shutil.which("wrk")
        argv = (
            [
                wrk,
                "-t1",
                f"-c{connections}",
                f"-d{seconds}s",
                "--timeout",
                "10s",
                "-s",
                str(script),
                url,
                "--",
                str(file),
            ]
            if wrk
            else [
                sys.executable,
                "-m",
                "tests.bench.http_load",
                url,
                str(file),
                str(seconds),
                str(connections),
            ]
        )
        said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return read_driven(said)


def read_driven(said: str) -> Driven:
    """Read what `wrk` says in the end.

    Raises:
        AssertionError: it says nothing of the kind.
    """
    answered = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)\b", said)
    assert answered, said
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    failed = int(refused[1]) if refused else 0
    failed += sum(map(int, broken.groups())) if broken else 0
    return Driven(int(answered[1]), failed, float(answered[2]) * _SECONDS_IN[answered[3]])


async def _drive(url: str, lines: Sequence[str], seconds: float, connections: int) -> tuple[int, int]:
    calls = cycle(Call(*line.split("\t")) for line in lines)
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(url, connector=connector, trust_env=False) as session:
        until = asyncio.get_running_loop().time() + seconds
        counts = await asyncio.gather(*(_send(session, calls, until) for _ in range(connections)))
    return sum(count for count, _ in counts), sum(failed for _, failed in counts)


async def _send(session: aiohttp.ClientSession, calls: Iterator[Call], until: float) -> tuple[int, int]:
    count = failed = 0
    while asyncio.get_running_loop().time() < until:
        call = next(calls)
        headers = {"Authorization": call.authorization}
        async with session.request(call.method, call.path, headers=headers, data=call.body or None) as answer:
            await answer.read()
        count, failed = count + 1, failed + (answer.status >= 300)
    return count, failed


def main() -> None:
    """Send, and say how many were answered, in the words of `wrk`."""
    url, file, seconds, connections = sys.argv[1:]
    lines = Path(file).read_text().splitlines()
    count, failed = asyncio.run(_drive(url, lines, float(seconds), int(connections)))
    sys.stdout.write(f"{count} requests in {seconds}s\n")
    if failed:
        sys.stdout.write(f"Non-2xx or 3xx responses: {failed}\n")


if __name__ == "__main__":
    main()
