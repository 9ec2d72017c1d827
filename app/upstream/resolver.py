"""Names to IP addresses, each of them checked against the guard.

The resolver belongs to the machine, not to an SFU: a name service that is away, slow or wrong must not exclude an SFU
that is still at its address. So an address that worked stays in use until the resolver gives one that works.
"""

import asyncio
import ipaddress
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from app.upstream.addresses import AddressGuard

TTL_SECONDS: Final = 30.0
"""An answer is used for this long without a new look-up. The system's resolver does not tell the TTL."""

STALE_SECONDS: Final = 300.0
"""An answer up to this age is used at once, while a new look-up runs in the background. Requests wait for a new
answer when the old one is older, or when none of its addresses accepted a connection."""

PATIENCE_SECONDS: Final = 0.5
"""How long a request waits for a new answer before it uses the older one."""

RETRY_SECONDS: Final = 5.0
"""Pause after a failed look-up of a name with an older answer."""

PROVEN_SECONDS: Final = 3600.0
"""How long an address that accepted a connection stays in the list, behind those that the resolver answers now."""

MAX_NAMES: Final = 16_384
"""Names remembered. The oldest entry makes room."""

MAX_LOOKUPS: Final = 256
"""Look-ups at once. Each has its own thread, so that slow look-ups do not delay others."""

Lookup: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]
"""A name's IP addresses, in the order in which to try them; raises `OSError`."""

_NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


class ResolverFailed(OSError):
    """The resolver gave no answer: nothing is known about the name, and its SFU is not to blame."""


class NotPermitted(OSError):
    """The guard permits none of the addresses that a name leads to."""


class _SystemLookup:
    """The system's resolver. It blocks, so each look-up runs in its own thread.

    An executor, and uvloop, share a few threads: as many slow names as there are threads would stop all other
    look-ups. The threads are daemons, so that a look-up that hangs does not delay the exit.
    """

    def __init__(self) -> None:
        self._running = 0

    async def __call__(self, host: str) -> list[str]:
        if self._running >= MAX_LOOKUPS:
            raise ResolverFailed(f"{MAX_LOOKUPS} look-ups are under way")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str]] = loop.create_future()

        def look_up() -> None:
            found: list[str] | OSError
            try:
                found = _getaddrinfo(host)
            except OSError as error:
                found = error
            except UnicodeError as error:  # the name cannot be written in the DNS
                found = OSError(str(error))
            try:
                loop.call_soon_threadsafe(deliver, found)
            except RuntimeError:
                return  # the loop has ended meanwhile

        def deliver(found: list[str] | OSError) -> None:
            self._running -= 1
            if answer.done():
                return
            if isinstance(found, OSError):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        self._running += 1
        try:
            threading.Thread(target=look_up, name="lookup", daemon=True).start()
        except RuntimeError as error:
            self._running -= 1
            raise ResolverFailed("no thread for a look-up") from error
        return await answer


def _getaddrinfo(host: str) -> list[str]:
    entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [_text(*entry[4]) for entry in entries]


def _text(host: str | int, _port: int | bytes = 0, _flow: int = 0, scope: int = 0) -> str:
    return f"{host}%{scope}" if scope else str(host)


@dataclass(slots=True)
class _Answer:
    """The addresses of one name. Times are seconds of the clock."""

    addresses: tuple[str, ...]
    at: float
    ask_again_at: float
    is_suspect: bool = False
    """Whether none of the addresses accepted a connection."""
    proven: str = ""
    """The address that accepted the last connection."""
    proven_at: float = 0.0


class GuardedResolver:
    """Resolves names to addresses that the guard permits.

    The caller connects to one of the returned addresses, so the address that was checked is the address in use: the
    name is not resolved again. Callers that need the same name share one look-up. The look-up goes on when a caller
    is cancelled.
    """

    def __init__(
        self,
        guard: AddressGuard,
        *,
        lookup: Lookup | None = None,
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = PATIENCE_SECONDS,
    ) -> None:
        """`lookup` is by default the system's resolver; `clock` is in seconds."""
        self._guard = guard
        self._lookup = lookup or _SystemLookup()
        self._clock = clock
        self._patience_s = patience_s
        self._known: dict[str, _Answer] = {}
        self._asking: dict[str, asyncio.Task[tuple[str, ...]]] = {}

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Return the permitted addresses of the name `host`, at least one.

        Raises:
            ResolverFailed: the resolver does not answer, and no earlier answer is known.
            OSError: the name does not exist, or leads to no permitted address.
        """
        known = self._known.get(host)
        if known is None:
            return await asyncio.shield(self._ask(host))
        now = self._clock()
        if now >= known.ask_again_at:
            asking = self._ask(host)
            if known.is_suspect or now - known.at >= STALE_SECONDS:
                await asyncio.wait({asking}, timeout=self._patience_s)
                known = self._known.get(host, known)
        return _in_order(known, now)

    def succeeded(self, host: str, address: str) -> None:
        """Note that `address` of `host` accepted a connection."""
        known = self._known.get(host)
        if known is not None:
            known.proven, known.proven_at, known.is_suspect = address, self._clock(), False

    def failed(self, host: str) -> None:
        """Note that no address of `host` accepted a connection: the next request waits for a new answer."""
        known = self._known.get(host)
        if known is not None:
            known.is_suspect = True
            known.ask_again_at = min(known.ask_again_at, self._clock())

    async def close(self) -> None:
        """Cancel the look-ups that are under way."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    def _ask(self, host: str) -> asyncio.Task[tuple[str, ...]]:
        """Return the look-up of `host` that is under way, or start one."""
        asking = self._asking.get(host)
        if asking is None:
            asking = asyncio.create_task(self._permitted(host))
            self._asking[host] = asking
            asking.add_done_callback(lambda done: self._answered(host, done))
        return asking

    async def _permitted(self, host: str) -> tuple[str, ...]:
        try:
            found = await self._lookup(host)
        except socket.gaierror as error:
            if error.errno in _NO_SUCH_NAME:
                raise
            raise ResolverFailed(f"the resolver does not answer for {host}") from error
        permitted = tuple(text for text in found if self._guard.permits(ipaddress.ip_address(text)))
        if not permitted:
            raise NotPermitted(f"{host} leads to no permitted address")
        return permitted

    def _answered(self, host: str, done: asyncio.Task[tuple[str, ...]]) -> None:
        del self._asking[host]
        now, known = self._clock(), self._known.get(host)
        if (
            done.cancelled() or done.exception() is not None
        ):  # read the exception, also when no caller waits any more
            if known is not None:
                known.ask_again_at = now + RETRY_SECONDS
            return
        if known is not None:
            known.addresses, known.at, known.ask_again_at = done.result(), now, now + TTL_SECONDS
            known.is_suspect = False
            return
        if len(self._known) >= MAX_NAMES:
            del self._known[next(iter(self._known))]
        self._known[host] = _Answer(done.result(), now, now + TTL_SECONDS)


def _in_order(known: _Answer, now: float) -> tuple[str, ...]:
    """The addresses of a name, the proven one first.

    A proven address that the resolver does not name any more comes last: the former address of an SFU that moved may
    belong to another host now, and a wrong answer of the resolver must not exclude an SFU.
    """
    addresses, proven = known.addresses, known.proven
    if not proven or addresses == (proven,):
        return addresses
    if proven in addresses:
        return (proven, *(address for address in addresses if address != proven))
    return addresses if now - known.proven_at > PROVEN_SECONDS else (*addresses, proven)
