"""A name service for processes that a test starts: every name leads to one address, until it is told to fail.

The C library asks on port 53 only, so the server has a loopback address of its own, and its clients are started in a
mount namespace in which `/etc/resolv.conf` names it. Needs root.
"""

import asyncio
import contextlib
import os
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

import pytest

ADDRESS: Final = "127.0.0.99"

Behaviour: TypeAlias = Literal["answers", "silent", "slow", "no such name"]

_A: Final = 1
_NO_SUCH_NAME: Final = 3
_TTL_SECONDS: Final = 1


class NameServer(asyncio.DatagramProtocol):
    """Answers every question for an IPv4 address with `leads_to`, as `behaviour` says."""

    def __init__(self) -> None:
        self.behaviour: Behaviour = "answers"
        self.leads_to = "127.0.0.1"
        self.slow_s = 10.0
        self.asked = 0

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked += 1
        if self.behaviour == "silent":
            return
        answer = self._answer(data)
        if self.behaviour == "slow":
            asyncio.get_running_loop().call_later(self.slow_s, self._send, answer, addr)
        else:
            self._send(answer, addr)

    def _send(self, answer: bytes, addr: tuple[str, int]) -> None:
        if not self._transport.is_closing():
            self._transport.sendto(answer, addr)

    def _answer(self, data: bytes) -> bytes:
        """RFC 1035, section 4: the question repeated, and an A record where one is asked for."""
        question = data[12 : data.index(b"\x00", 12) + 5]
        is_unknown = self.behaviour == "no such name"
        has_answer = not is_unknown and int.from_bytes(question[-4:-2]) == _A
        flags = 0x8180 | (_NO_SUCH_NAME if is_unknown else 0)
        head = data[:2] + flags.to_bytes(2) + (1).to_bytes(2) + int(has_answer).to_bytes(2) + bytes(4)
        record = b"\xc0\x0c" + (_A).to_bytes(2) + (1).to_bytes(2) + _TTL_SECONDS.to_bytes(4) + (4).to_bytes(2)
        return head + question + (record + socket.inet_aton(self.leads_to) if has_answer else b"")


@contextlib.asynccontextmanager
async def name_server() -> AsyncIterator[NameServer]:
    """Run one. Skips the test where that is not permitted."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip(
            "a name service of its own needs root and unshare (Debian, Ubuntu: apt-get install util-linux)"
        )
    try:
        transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
            NameServer, local_addr=(ADDRESS, 53)
        )
    except OSError as error:
        pytest.skip(f"port 53 of {ADDRESS} cannot be had: {error.strerror}")
    try:
        yield server
    finally:
        transport.close()


def asking(directory: Path) -> Sequence[str]:
    """Return what stands before a command whose process asks the name server."""
    configuration = directory / "resolv.conf"
    configuration.write_text(f"nameserver {ADDRESS}\noptions timeout:5 attempts:2\n")
    script = f'mount --bind {configuration} /etc/resolv.conf && exec "$@"'
    return ["unshare", "-m", "sh", "-c", script, "sh"]
