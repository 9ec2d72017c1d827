"""Strangers to a replica, in a process of their own: `python -m tests.chaos.strangers PORT COUNT SECONDS`.

Each connection does one of the things that cost a careless server most, and is replaced when the replica closes it.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle
from typing import Final

from tests.support.ports import HOST

_H: Final = b"Host: gateway\r\n"
_PIPELINE: Final = b"GET /a HTTP/1.1\r\n" + _H + b"\r\n"
KINDS: Final = {
    "pipelines": _PIPELINE * 500,
    "health": b"GET /v1/health HTTP/1.1\r\n" + _H + b"\r\n",
    "viewers": b"GET /v1/events HTTP/1.1\r\n" + _H + b"Last-Event-ID: 1-0\r\n\r\n",
    "viewers with more": b"GET /v1/events HTTP/1.1\r\n"
    + _H
    + b"Last-Event-ID: 1-0\r\n\r\n"
    + _PIPELINE * 500,
    "no bodies": b"POST /v1/disconnect HTTP/1.1\r\n" + _H + b"Content-Length: 10\r\n\r\n",
    "half bodies": b"POST /v1/sfu HTTP/1.1\r\n" + _H + b"Content-Length: 65536\r\n\r\n" + b"x" * 60_000,
    "many headers": b"GET /a HTTP/1.1\r\n" + _H + b"a:\r\n" * 99,
    "long heads": b"GET /a HTTP/1.1\r\n" + _H + b"a: " + b"x" * 30_000,
    "bad tokens": b"GET /v1/channel HTTP/1.1\r\n" + _H + b"Authorization: jwt a.b.c\r\n\r\n",
}


async def _come_again_and_again(port: int, kind: bytes, opened: Counter[bytes]) -> None:
    """Send and read nothing until the replica closes, and begin anew, not more than a few times a second."""
    loop = asyncio.get_running_loop()
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(HOST, port, limit=1)
            opened[kind] += 1
            try:
                writer.write(kind)
                reader._transport.pause_reading()  # type: ignore[attr-defined] # noqa: SLF001 - read nothing
                ends = loop.time() + 10
                while not writer.is_closing() and loop.time() < ends:
                    await asyncio.sleep(1)
                    writer.write(b"x")  # notices that the replica has closed
            finally:
                writer.transport.abort()
        await asyncio.sleep(2)


async def _run(port: int, count: int, seconds: float) -> Counter[bytes]:
    opened: Counter[bytes] = Counter()
    kinds = cycle(KINDS.values())
    tasks = []
    for _ in range(count):
        tasks.append(asyncio.create_task(_come_again_and_again(port, next(kinds), opened)))
        await asyncio.sleep(0.005)  # a steady stream; a burst would measure how fast connections are accepted
    print("strangers are here", flush=True)  # noqa: T201 - the test waits for it
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return opened


def main(argv: Sequence[str]) -> None:
    """Run, and print how many connections there were."""
    opened = asyncio.run(_run(int(argv[0]), int(argv[1]), float(argv[2])))
    print(f"connections: {opened.total()}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
