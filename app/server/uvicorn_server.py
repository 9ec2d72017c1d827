"""Running a replica on uvicorn, with the limits that a port facing strangers needs."""

import gc
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.applications import Starlette

from app.server.shedding import SheddingHttpProtocol
from app.settings.model import Settings

GRACE_SECONDS: Final = 10
"""After SIGTERM, running requests get this long; `failover.deadline_ms` is shorter."""

_KEEP_ALIVE_SECONDS: Final = 10


def server_for(app: Starlette, settings: Settings) -> uvicorn.Server:
    """Return a uvicorn server for one replica. One process, one event loop: replicas are how it scales."""
    return _Server(_config(app, settings), app)


def guest_server_for(app: Starlette, settings: Settings) -> uvicorn.Server:
    """Return a server for a process that has other things to run, and its own way to end."""
    return _GuestServer(_config(app, settings), app)


class _Server(uvicorn.Server):
    """Tells the application that the end is near, so that streams without an end find theirs."""

    def __init__(self, config: uvicorn.Config, app: Starlette) -> None:
        super().__init__(config)
        self._app = app

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT as orders to finish; having finished is a success, exit code 0."""
        ours = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self.handle_exit) for number in ours}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.settle()

    def settle(self) -> None:
        """Take what is there now for permanent: collecting garbage in it would stop requests for long."""
        gc.collect()
        gc.freeze()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for callback in self._app.state.before_stop:
            callback()
        await super().shutdown(sockets)


class _GuestServer(_Server):
    """Leaves signals and garbage to the process it is a guest in."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def settle(self) -> None:
        """Nothing here is for good."""


def _config(app: Starlette, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.bind,
        port=settings.port,
        http=SheddingHttpProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the caller's address is ours to find: app.settings.trusted_proxies
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
