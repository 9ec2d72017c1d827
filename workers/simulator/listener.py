"""A port that answers HTTP, and that can vanish and come back as that of a crashed machine does."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from aiohttp import web

BACKLOG: Final = 1024
MAX_HEADER_BYTES: Final = 64 * 1024
"""Above the 16 KiB token that o-sfu takes, so that the SFU and not its HTTP parser refuses a token."""

SHUTDOWN_SECONDS: Final = 1.0
"""How long handlers whose connection is gone may take to notice."""

Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Listener:
    """A port of `host` on which `handler` answers; once opened, it stays the same port."""

    def __init__(self, host: str, port: int, handler: Handler) -> None:
        self.host = host
        self.port = port
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._http: web.Server | None = None

    async def open(self) -> None:
        """Accept connections. Raises `OSError` when another process has the port."""
        if self._server is not None:
            return
        listening = socket.create_server((self.host, self.port), backlog=BACKLOG)
        self.port = listening.getsockname()[1]
        self._http = self._http or self._protocols()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._http, sock=listening, backlog=BACKLOG)

    def refuse(self) -> None:
        """Accept no more connections. Open connections stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def abort(self) -> None:
        """Accept no more connections, and reset the open ones."""
        self.refuse()
        for connection in self._http.connections if self._http is not None else ():
            if connection.transport is not None:
                connection.transport.abort()

    async def close(self) -> None:
        """Do as `abort` does, and wait until no handler runs any more."""
        self.abort()
        if self._http is not None:
            await self._http.shutdown(SHUTDOWN_SECONDS)
            self._http = None

    def _protocols(self) -> web.Server:
        return web.Server(
            self._handler,
            access_log=None,
            handler_cancellation=True,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )
