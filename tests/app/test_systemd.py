"""What systemd is told, and when."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.systemd import notify, ready, watchdog_interval_s


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket on which systemd listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


def environ_of(manager: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(manager.getsockname()), **more}


async def test_a_service_is_ready_gives_signs_of_life_and_stops(manager: socket.socket) -> None:
    environ = environ_of(manager, WATCHDOG_USEC="2000", WATCHDOG_PID=str(os.getpid()))
    async with ready(environ):
        assert manager.recv(64) == b"READY=1"
        manager.setblocking(False)
        signs: list[bytes] = []
        while len(signs) < 2:
            await _until_readable(manager)
            signs.append(manager.recv(64))
        assert signs == [b"WATCHDOG=1"] * 2
    rest = [b""]
    while rest[-1] != b"STOPPING=1":
        rest.append(manager.recv(64))


async def _until_readable(manager: socket.socket) -> None:
    readable = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(manager, readable.set)
    await readable.wait()
    loop.remove_reader(manager)


def test_outside_systemd_nothing_is_sent(manager: socket.socket) -> None:
    notify("READY=1", {})
    notify("READY=1", {"NOTIFY_SOCKET": "/nowhere/at/all"})
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(64)


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_signs_of_life_come_twice_as_often_as_systemd_asks(
    environ: dict[str, str], interval_s: float | None
) -> None:
    assert watchdog_interval_s(environ) == interval_s
