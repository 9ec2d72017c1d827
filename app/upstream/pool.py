"""Connections to SFUs: kept alive between requests, never longer than an SFU keeps them."""

import asyncio
import contextlib
import errno
import functools
import math
import ssl
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from app.timers import Timers
from app.upstream.addresses import DEFAULT_PORTS, AddressGuard, parse_ip
from app.upstream.connection import Answer, ConnectionDropped, SfuConnection
from app.upstream.resolver import GuardedResolver
from app.upstream.time_limit import TimeLimit

IDLE_SECONDS: Final = 4.0
"""Node.js closes idle connections after 5 s. A request on a connection that is closing would look like a failure."""

MAX_IDLE_PER_ORIGIN: Final = 64
"""Idle connections per SFU. More are closed after their request. Admission bounds the connections in use."""

MAX_KEPT: Final = 512
"""Connections to all SFUs. While there are more, a connection is closed after its request: the SFUs of a large fleet
get few requests each, and idle connections would use up file descriptors."""

MAX_ORIGINS: Final = 16_384
"""SFUs whose addresses are kept parsed and checked. The oldest entry makes room."""

_OWN_ERRNOS: Final = frozenset(
    {
        errno.EMFILE,  # no file descriptors left in this process, ENFILE: on this machine
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EADDRNOTAVAIL,  # no local port left
        errno.EADDRINUSE,
        errno.ENETDOWN,
        errno.ENETUNREACH,  # this machine has no route
        errno.EACCES,  # a local packet filter
        errno.EPERM,
    }
)
"""Why a connection cannot be opened, when the cause is on the gateway's side."""

_REAP_SECONDS: Final = 1.0


def is_own_fault(error: BaseException) -> bool:
    """Whether a connection could not be opened for a cause on the gateway's side. TLS has numbers of its own."""
    return isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno in _OWN_ERRNOS


class NameNotResolved(OSError):
    """Nothing was sent: the resolver gave no permitted address in time. The cause says why."""


class NotConnected(OSError):
    """Nothing was sent: no connection could be opened. The cause says why."""


class GatewayStops(ConnectionAbortedError):
    """The pool has been closed."""


@dataclass(slots=True, eq=False)
class Origin:
    """One SFU's address, checked and parsed, and its idle connections."""

    host: str
    ip: str
    """The host, where that is an IP address; empty where it is a name."""
    port: int
    is_tls: bool
    head: str
    """The part of every request to it between the path and the headers of the single request."""
    idle: list[SfuConnection] = field(default_factory=list)
    """The last used connection comes last."""
    is_known: bool = True


class ConnectionPool:
    """Sends requests to SFUs, on connections to addresses that the guard permits."""

    def __init__(
        self,
        guard: AddressGuard,
        *,
        resolver: GuardedResolver | None = None,
        tls: ssl.SSLContext | None = None,
        idle_s: float = IDLE_SECONDS,
        most_kept: int = MAX_KEPT,
    ) -> None:
        self._guard = guard
        self._resolver = resolver or GuardedResolver(guard)
        self._tls = tls
        self._idle_s = idle_s
        self._most_kept = most_kept
        self._loop = asyncio.get_running_loop()
        self._timers = Timers()
        self._origins: dict[str, Origin] = {}
        self._connections: set[SfuConnection] = set()
        self._reaper: asyncio.TimerHandle | None = None
        self._is_closed = False

    def origin(self, address: str) -> Origin:
        """Return the parsed and checked `address` with its idle connections.

        Raises:
            AddressNotAllowed: the guard refuses it.
            ValueError: it is not the base URL of an SFU.
        """
        return self._origins.get(address) or self._learn(address)

    async def request(self, origin: Origin, request: bytes, max_bytes: int, *, deadline: float) -> Answer:
        """Send `request`, which may be sent twice, and return the answer, of at most `max_bytes`.

        The request takes until `deadline` at most, in the event loop's seconds. The caller may be cancelled earlier.

        Raises:
            TimeoutError: no whole answer until then.
            NameNotResolved, NotConnected, GatewayStops: nothing was sent.
            ConnectionDropped: the connection ended before an answer.
            MalformedAnswer, AnswerTooLong: as `SfuConnection.ask`.
        """
        if deadline <= self._loop.time():
            raise TimeoutError("no time for an answer")
        connection = self._take_idle(origin)
        was_idle = connection is not None
        while True:
            connection = connection or await self._connect(origin, deadline)
            timer = self._timers.call_at(deadline, connection.expire)
            try:
                answer = await connection.ask(request, max_bytes)
            except BaseException as error:
                connection.close()  # also after a cancellation: a late answer belongs to no request
                if not (was_idle and isinstance(error, ConnectionDropped)):
                    raise
                # The SFU closed the idle connection in the same moment and most likely never saw the request, so
                # the request is sent once more. If the SFU saw it, the repetition changes nothing: it answers an
                # issuer with the same channel, and a disconnect of a disconnected session has no effect.
                connection, was_idle = None, False
            else:
                self._put_back(origin, connection)
                return answer
            finally:
                timer.cancel()

    async def close(self) -> None:
        """Close all connections and wait until they are gone."""
        self._is_closed = True
        if self._reaper is not None:
            self._reaper.cancel()
        await self._resolver.close()
        lost = [connection.lost for connection in self._connections]
        for connection in tuple(self._connections):
            connection.close()
        if lost:
            await asyncio.wait(lost)

    def _take_idle(self, origin: Origin) -> SfuConnection | None:
        idle = origin.idle
        oldest = self._loop.time() - self._idle_s
        while idle:
            connection = idle.pop()
            if connection.is_reusable and connection.idle_since >= oldest:
                connection.idle_since = math.inf
                return connection
            connection.close()
        return None

    def _put_back(self, origin: Origin, connection: SfuConnection) -> None:
        is_full = len(self._connections) > self._most_kept or len(origin.idle) >= MAX_IDLE_PER_ORIGIN
        if is_full or not origin.is_known or not connection.is_reusable or self._is_closed:
            connection.close()
            return
        connection.idle_since = self._loop.time()
        origin.idle.append(connection)
        if self._reaper is None:
            self._reaper = self._loop.call_later(_REAP_SECONDS, self._reap)

    def _reap(self) -> None:
        """Close connections that were idle for too long. Repeats while a connection is idle."""
        oldest = self._loop.time() - self._idle_s
        is_any_left = False
        for connection in tuple(self._connections):
            if connection.idle_since < oldest:
                connection.close()
            elif connection.idle_since < math.inf:
                is_any_left = True
        self._reaper = self._loop.call_later(_REAP_SECONDS, self._reap) if is_any_left else None

    async def _connect(self, origin: Origin, deadline: float) -> SfuConnection:
        # An IP address was judged when the origin was learned.
        addresses = (origin.ip,) if origin.ip else await self._resolve(origin, deadline)
        causes = []
        for number, ip in enumerate(addresses, 1):
            is_last = number == len(addresses)
            now = self._loop.time()
            try:
                with TimeLimit(self._timers, deadline if is_last else (now + deadline) / 2):
                    connection = await self._connect_to(origin, ip)
            except GatewayStops:
                raise
            except OSError as error:
                causes.append(error)
            else:
                self._resolver.succeeded(origin.host, ip)
                return connection
        self._resolver.failed(origin.host)
        # For a host with IPv6 and IPv4 addresses, a refused connection says more than a missing route.
        cause = next((error for error in causes if not is_own_fault(error)), causes[-1])
        raise NotConnected(str(cause)) from cause

    async def _resolve(self, origin: Origin, deadline: float) -> tuple[str, ...]:
        try:
            with TimeLimit(self._timers, deadline):
                return await self._resolver.resolve(origin.host)
        except OSError as error:
            raise NameNotResolved(str(error)) from error

    async def _connect_to(self, origin: Origin, ip: str) -> SfuConnection:
        if self._is_closed:
            raise GatewayStops("the gateway stops")
        _, connection = await self._loop.create_connection(
            functools.partial(SfuConnection, functools.partial(self._lost, origin)),
            ip,
            origin.port,
            ssl=self._tls_context() if origin.is_tls else None,
            server_hostname=origin.host.rstrip(".") if origin.is_tls else None,
        )
        if not connection.lost.done():
            # Not earlier: uvloop never reports the end of a connection that is cancelled while it opens.
            self._connections.add(connection)
        if self._is_closed:
            connection.close()
        return connection

    def _lost(self, origin: Origin, connection: SfuConnection) -> None:
        self._connections.discard(connection)
        with contextlib.suppress(ValueError):  # it was in use
            origin.idle.remove(connection)

    def _tls_context(self) -> ssl.SSLContext:
        """Return the TLS context of all connections. Made on first use, because it takes 30 ms."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    def _learn(self, address: str) -> Origin:
        self._guard.check(address)
        origin = _parse(address)
        if len(self._origins) >= MAX_ORIGINS:
            self._evict(next(iter(self._origins)))
        self._origins[address] = origin
        return origin

    def _evict(self, address: str) -> None:
        origin = self._origins.pop(address)
        origin.is_known = False
        for connection in tuple(origin.idle):
            connection.close()


def _parse(address: str) -> Origin:
    if not address.isascii() or not address.isprintable() or " " in address:
        raise ValueError("an address is printable ASCII")
    parts = urlsplit(address)
    scheme, netloc, host, port = parts.scheme, parts.netloc, parts.hostname, parts.port
    if scheme not in DEFAULT_PORTS or not host or "@" in netloc:
        raise ValueError("an address has a scheme, http or https, and a host")
    if address != f"{scheme}://{netloc}":
        raise ValueError("an address has no path, query or fragment")
    return Origin(
        host=host,
        ip=host if parse_ip(host) else "",
        port=DEFAULT_PORTS[scheme] if port is None else port,
        is_tls=scheme == "https",
        head=(
            f" HTTP/1.1\r\nHost: {netloc}\r\nUser-Agent: sfu-gateway\r\n"
            "Accept: */*\r\nAccept-Encoding: identity\r\n"
        ),
    )
