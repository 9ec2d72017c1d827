"""Running a replica on uvicorn, with the limits that a port facing strangers needs."""

import asyncio
import errno
import gc
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import Final

import uvicorn
from starlette.applications import Starlette
from uvicorn.config import STARTUP_FAILURE

from app import __version__
from app.logs import logger
from app.registry.trouble import where
from app.server.protocol import GuardedState
from app.server.shedding import SheddingHttpProtocol
from app.server.sockets import listening_socket
from app.settings.model import ENV_PREFIX, Settings
from app.systemd import ready

log = logger(__name__)

_GC_THRESHOLDS: Final = (10_000, 10, 10)
"""A request makes a few hundred objects and hardly a cycle: by Python's 700 the collector takes 3 % of the CPU."""

GRACE_SECONDS: Final = 10
"""After SIGTERM, running requests get this long; `failover.deadline_ms` is shorter."""


def server_for(app: Starlette, settings: Settings) -> uvicorn.Server:
    """Return a uvicorn server for one replica: one process, one event loop. More replicas take more load."""
    return _Server(_config(app, settings), app, settings)


def guest_server_for(app: Starlette, settings: Settings) -> uvicorn.Server:
    """Return a server for a process that runs other work too and handles its signals itself."""
    return _GuestServer(_config(app, settings), app, settings)


def open_to_strangers(settings: Settings) -> list[str]:
    """Return the routes that answer without a credential, probes left out."""
    heartbeats = ["/v1/sfu"] if settings.registration.auth == "none" else []
    fleet = ["/v1/health", "/v1/diagnosis", "/v1/events", "/dashboard"] if settings.health.public else []
    return [*heartbeats, *fleet, "/metrics", "/openapi.json"]


class _Server(uvicorn.Server):
    """Calls `app.state.before_stop` when it stops, so that endless streams end."""

    def __init__(self, config: uvicorn.Config, app: Starlette, settings: Settings) -> None:
        super().__init__(config)
        self.server_state = GuardedState()
        self._app = app
        self._settings = settings
        self._stack = AsyncExitStack()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Finish on SIGTERM and SIGINT, and exit with code 0."""
        ours = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self.handle_exit) for number in ours}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        settings = self._settings
        await super().startup(sockets or [await self._socket(settings.bind, settings.port, "port")])
        port = self.servers[0].sockets[0].getsockname()[1]
        switch = self.lifespan.state.get("switch")
        log.info(
            "serving",
            detail=f"running on {settings.bind} port {port}",
            version=__version__,
            redis=where(settings.redis),
            namespace=settings.redis.namespace,
            ops_port=settings.ops.port,
            open=", ".join(open_to_strangers(settings)),
            sfus=len(switch.snapshot.nodes) if switch else 0,
        )
        if settings.ops.port is not None:
            host = settings.ops.bind or settings.bind
            inside = await self._socket(host, settings.ops.port, "ops.port")
            self.servers.append(await self._listen_inside(inside))
        self.settle()
        await self._stack.enter_async_context(ready())

    async def _socket(self, host: str, port: int, setting: str) -> socket.socket:
        """Open a port, or end the process with a line that names the setting."""
        try:
            return listening_socket(host, port)
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                setting = setting.replace("port", "bind")
            variable = ENV_PREFIX + setting.replace(".", "__").upper()
            detail = f"{variable} ({setting} in TOML): cannot listen on {host} port {port}: {error.strerror}"
            log.error("cannot_listen", detail=detail)  # noqa: TRY400 - no trace
            if hasattr(self, "servers"):  # the first port is open, so the application has started
                for server in self.servers:
                    server.close()
                await self.lifespan.shutdown()
            sys.exit(STARTUP_FAILURE)

    async def _listen_inside(self, inside: socket.socket) -> asyncio.Server:
        """Serve the second port. Its connections share the state of the first port."""
        make_protocol = partial(SheddingHttpProtocol, self.config, self.server_state, self.lifespan.state)
        return await asyncio.get_running_loop().create_server(
            make_protocol, sock=inside, backlog=self.config.backlog
        )

    def settle(self) -> None:
        """Exclude the present objects from garbage collection: a collection of them would delay requests."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._stack.aclose()
        for callback in self._app.state.before_stop:
            callback()
        await super().shutdown(sockets)
        log.info("stopped")


class _GuestServer(_Server):
    """Leaves signals and garbage collection to the process that runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def settle(self) -> None:
        """Does nothing: the process outlives this server."""


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
        proxy_headers=False,  # app.settings.trusted_proxies finds the caller's address
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
