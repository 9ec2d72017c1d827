"""Where calls are, as this replica knows it: what it placed itself, and what other replicas confirmed.

While Redis is away the memory keeps known calls where they are. It is bounded, and the placements that were confirmed
last stay.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from sys import intern
from typing import Final, Protocol

from app.background import in_background, repeated
from app.errors import RegistryUnavailable
from app.registry.placements import CallId, ConfirmedPlacement

_MOST_CALLS: Final = 50_000
_PAGE: Final = 1_000
_PAUSE_S: Final = 0.1
"""A call that was confirmed elsewhere this long before an outage is known here."""

_UNDER_WAY_MS: Final = 10_000
"""A request that the former data placed is over by then."""


class ConfirmationLog(Protocol):
    """What the memory needs of the registry."""

    async def recent_confirmations(self, after: str, count: int) -> tuple[str, list[ConfirmedPlacement]]:
        """Return up to `count` placements confirmed after a position, oldest first, and the position of the last.

        An empty `after` gives the newest `count`. Raises `RegistryUnavailable`.
        """


class CallMemory:
    """A bounded map from a tenant's issuer to its placement; the later confirmation wins.

    A call that was confirmed without a channel key is that of every request of its issuer, unless a call of the
    request's own key is known.
    """

    def __init__(self, now_ms: Callable[[], int], *, ttl_ms: int, most: int = _MOST_CALLS) -> None:
        """`now_ms` is Redis' clock, `ttl_ms` is how long a confirmed placement is sticky."""
        self._now_ms = now_ms
        self._ttl_ms = ttl_ms
        self._most = most
        self._calls: OrderedDict[CallId, ConfirmedPlacement] = OrderedDict()
        self._owners: dict[tuple[str, str], str] = {}
        """Of an issuer's own name: the fingerprint of the channel key that has it."""
        self._unknown_generations_until = 0

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def now_ms(self) -> int:
        """Redis' clock, in ms."""
        return self._now_ms()

    def of(self, call: CallId) -> ConfirmedPlacement | None:
        """Return where the issuer's call is; `None` when it is not known, or was confirmed too long ago."""
        placement = self._calls.get(call) or self._calls.get(CallId(call.tenant, call.issuer))
        if placement is None or placement.confirmed_at + self._ttl_ms <= self._now_ms():
            return None
        return self.dated(placement)

    def has_other_key(self, call: CallId) -> bool:
        """Return whether a call of another channel key has the issuer's own name."""
        owner, own = self._owners.get(call[:2], ""), call.channel_key_fingerprint
        is_other = bool(owner and own and owner != own)
        return is_other and self.of(call._replace(channel_key_fingerprint=owner)) is not None

    def all(self) -> list[ConfirmedPlacement]:
        """Return every call that is sticky now, by the time of its confirmation."""
        oldest = self._now_ms() - self._ttl_ms
        return [
            self.dated(placement) for placement in self._calls.values() if placement.confirmed_at > oldest
        ]

    def remember(self, placement: ConfirmedPlacement) -> None:
        """Keep a placement, unless a later one of the same issuer is known."""
        call = placement.call
        former = self._calls.get(call)
        if former is not None and former.confirmed_at > placement.confirmed_at:
            return
        placement.address, placement.caller = intern(placement.address), intern(placement.caller)
        self._calls[call] = placement
        self._calls.move_to_end(call)
        if call.channel_key_fingerprint and not placement.has_other_key:
            self._owners[call[:2]] = call.channel_key_fingerprint
        if len(self._calls) > self._most:
            forgotten, _ = self._calls.popitem(last=False)
            if self._owners.get(forgotten[:2]) == forgotten[2]:
                del self._owners[forgotten[:2]]

    def forget_generations(self) -> None:
        """Begin anew with generations: the registry has lost its data and counts from 1 again."""
        self._unknown_generations_until = self._now_ms() + _UNDER_WAY_MS

    def dated(self, placement: ConfirmedPlacement) -> ConfirmedPlacement:
        """Return `placement`, without its generation where that is one of lost data."""
        if placement.generation and placement.confirmed_at <= self._unknown_generations_until:
            return replace(placement, generation=0)
        return placement


class ConfirmationFollower:
    """Keeps a memory up to date with what all replicas confirm."""

    def __init__(self, memory: CallMemory, log: ConfirmationLog) -> None:
        self._memory = memory
        self._log = log
        self._position = ""

    async def catch_up(self) -> None:
        """Read what was confirmed since the last time. Raises `RegistryUnavailable`."""
        while True:
            is_first = not self._position
            count = 10 * _PAGE if is_first else _PAGE
            self._position, calls = await self._log.recent_confirmations(self._position, count)
            for call in calls:
                self._memory.remember(call)
            if is_first or len(calls) < count:
                return

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow in the background for as long as the block runs. Fails open: without Redis it waits for Redis."""
        async with in_background(repeated(self.catch_up, lambda: _PAUSE_S, RegistryUnavailable)):
            yield
