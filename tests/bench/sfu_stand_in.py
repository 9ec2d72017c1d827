"""An SFU that does nothing but answer: `python -m tests.bench.sfu_stand_in PORT [DELAY_MS]`.

So that the SFU is never what a benchmark of the gateway measures. It listens on every address of this machine, and
Linux gives it all of 127.0.0.0/8: one listener is as many SFUs as one wants, each at a real address of its own. It
looks at no token and remembers nothing.
"""

import asyncio
import itertools
import json
import resource
import sys
from collections.abc import Iterator
from typing import Final, cast

import httptools
import uvloop

_OK: Final = b'{"result":"ok"}'


def address_of(number: int, port: int) -> str:
    """Return the base URL of SFU `number`, counted from 0."""
    return f"http://127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}:{port}"


class SfuProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, uuids: Iterator[int], delay_s: float) -> None:
        self._uuids = uuids
        self._delay_s = delay_s
        self._path = b""
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep whom to answer."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        """Keep the path for the end of the request."""
        self._path = url.partition(b"?")[0]

    def on_message_complete(self) -> None:
        """Answer, now or later."""
        if self._path == b"/v1/channel":
            answer = _response(_channel(next(self._uuids)))
        elif self._path == b"/v1/noop":
            answer = _response(_OK)
        elif self._path == b"/v1/stats":
            answer = _response(b"[]")
        else:
            answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
        if self._delay_s:
            asyncio.get_running_loop().call_later(self._delay_s, self._write, answer)
        else:
            self._write(answer)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


def _channel(number: int) -> bytes:
    return json.dumps({"uuid": f"{number:032x}", "url": "https://sfu.example.com"}).encode()


def _response(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


async def serve(port: int, delay_s: float) -> None:
    """Answer until the process is ended."""
    uuids = itertools.count(port << 64)  # apart from those of another process
    server = await asyncio.get_running_loop().create_server(
        lambda: SfuProtocol(uuids, delay_s), "0.0.0.0", port, backlog=4096
    )
    async with server:
        sys.stdout.write("answering\n")
        sys.stdout.flush()
        await server.serve_forever()


def allow_many_sockets() -> None:
    """Raise the limit of open files to what the system allows; child processes inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    """Serve as the command line says."""
    allow_many_sockets()
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1000 if len(sys.argv) > 2 else 0.0))


if __name__ == "__main__":
    main()
