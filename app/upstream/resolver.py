"""Names of SFUs to IP addresses that the gateway may connect to, remembered for a short while."""

import asyncio
import ipaddress
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from app.upstream.addresses import AddressGuard

TTL_SECONDS: Final = 30.0
"""How long an answer is believed. The system's resolver does not say how long it is good for."""

MAX_NAMES: Final = 16_384
"""Names remembered; the one that was learned first makes room."""

Lookup: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]
"""A name's IP addresses, in the order in which to try them; raises `OSError`."""


async def system_lookup(host: str) -> list[str]:
    """Ask the system's resolver, in a thread. Raises `OSError`."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    return [_text(*entry[4]) for entry in found]


def _text(host: str | int, _port: int | bytes = 0, _flow: int = 0, scope: int = 0) -> str:
    return f"{host}%{scope}" if scope else str(host)


class NotPermitted(OSError):
    """The guard permits none of the addresses that a name leads to."""


class GuardedResolver:
    """Resolves names, and refuses those that lead where the gateway must not go.

    Whoever connects does so to one of the addresses returned, so to the very one that was checked: the name
    is not resolved again. Callers that ask for one name at a time share one look-up, which goes on when one
    of them leaves.
    """

    def __init__(
        self,
        guard: AddressGuard,
        *,
        lookup: Lookup = system_lookup,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the `guard` that decides, who resolves names, and a clock in seconds."""
        self._guard = guard
        self._lookup = lookup
        self._clock = clock
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._asking: dict[str, asyncio.Task[tuple[str, ...]]] = {}

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Return the permitted addresses of `host`, a name or an IP address, at least one.

        Raises:
            OSError: it leads nowhere, or to no permitted address.
        """
        until, addresses = self._known.get(host, (0.0, ()))
        if addresses and self._clock() < until:
            return addresses
        asking = self._asking.get(host)
        if asking is None:
            asking = asyncio.create_task(self._permitted(host))
            self._asking[host] = asking
            asking.add_done_callback(lambda done: self._answered(host, done))
        return await asyncio.shield(asking)

    def forget(self, host: str) -> None:
        """Look `host` up anew the next time: where it led, nobody answers."""
        self._known.pop(host, None)

    async def close(self) -> None:
        """Let go of what is being looked up."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    async def _permitted(self, host: str) -> tuple[str, ...]:
        found = [host] if _is_ip_address(host) else await self._lookup(host)
        permitted = tuple(text for text in found if self._guard.permits(ipaddress.ip_address(text)))
        if not permitted:
            raise NotPermitted(f"{host} leads to no permitted address")
        return permitted

    def _answered(self, host: str, done: asyncio.Task[tuple[str, ...]]) -> None:
        del self._asking[host]
        if done.cancelled() or done.exception() is not None:  # read, though all may have left who asked
            return
        self._known.pop(host, None)
        if len(self._known) >= MAX_NAMES:
            del self._known[next(iter(self._known))]
        self._known[host] = (self._clock() + TTL_SECONDS, done.result())


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
