"""Running a replica on uvicorn, with the limits that a port facing strangers needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.applications import Starlette

from app.settings import Settings

GRACE_SECONDS: Final = 10
"""After SIGTERM, running requests get this long; `failover.deadline_ms` is shorter."""

_KEEP_ALIVE_SECONDS: Final = 10


def server_for(app: Starlette, settings: Settings) -> uvicorn.Server:
    """Return a uvicorn server for one replica. One process, one event loop: replicas are how it scales."""
    return uvicorn.Server(_config(app, settings))


def guest_server_for(app: Starlette, settings: Settings) -> uvicorn.Server:
    """Return a server for a process that has other things to run, and its own way to end."""
    return _GuestServer(_config(app, settings))


class _GuestServer(uvicorn.Server):
    """Leaves signals to the process it is a guest in."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(app: Starlette, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.bind,
        port=settings.port,
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the caller's address is ours to find: app.client_address
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
