"""Telling systemd how a service is: `sd_notify(3)`, for units of `Type=notify` with `WatchdogSec`.

Outside systemd nothing is sent.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from app.background import in_background


def notify(state: str, environ: Mapping[str, str] = os.environ) -> None:
    """Send `state`, such as `READY=1`. Fails open: the service runs on when systemd does not listen."""
    path = environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
        connection.sendto(state.encode(), address)


def watchdog_interval_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """Return the seconds between two watchdog signals, half of `WATCHDOG_USEC`; `None` without a watchdog."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    is_ours = environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
    return int(microseconds) / 2e6 if microseconds.isdigit() and int(microseconds) and is_ours else None


@asynccontextmanager
async def ready(environ: Mapping[str, str] = os.environ) -> AsyncIterator[None]:
    """Report that the service is ready, send watchdog signals from the event loop, report the end of the block."""
    notify("READY=1", environ)
    async with in_background(_live(environ)):
        yield
    notify("STOPPING=1", environ)


async def _live(environ: Mapping[str, str]) -> None:
    interval_s = watchdog_interval_s(environ)
    while interval_s is not None:
        notify("WATCHDOG=1", environ)
        await asyncio.sleep(interval_s)
