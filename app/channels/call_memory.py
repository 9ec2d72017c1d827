"""Where calls are, as this replica knows it: what it placed itself, and what other replicas confirmed.

While Redis is away the memory keeps known calls where they are. It is bounded, and the placements that were confirmed
last stay.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import islice
from typing import Final, Protocol

from app.background import in_background, repeated
from app.errors import RegistryUnavailable
from app.registry.placements import CallId, ConfirmedPlacement, confirmation_facts, confirmed_placement

_MOST_CALLS: Final = 50_000
_PAGE: Final = 1_000
_PAUSE_S: Final = 0.1
"""A call that was confirmed elsewhere this long before an outage is known here."""

_UNDER_WAY_MS: Final = 10_000
"""A request that the former data placed is over by then."""

_Call = tuple[str, str, str]
"""As `CallId`: tenant, issuer, and fingerprint of the channel key."""


class ConfirmationLog(Protocol):
    """What the memory needs of the registry."""

    async def recent_confirmations(self, after: str, count: int) -> tuple[str, list[str]]:
        """Return up to `count` entries after a position, oldest first, and the position of the last.

        An empty `after` gives the newest `count`. Raises `RegistryUnavailable`.
        """


class CallMemory:
    """A bounded map from a tenant's issuer to its placement; the later confirmation wins.

    A call that was confirmed without a channel key is that of every request of its issuer, unless a call of the
    request's own key is known.

    A call is kept as one text. 50,000 objects would take twice the memory, and time in each garbage collection.
    """

    def __init__(self, now_ms: Callable[[], int], *, ttl_ms: int, most: int = _MOST_CALLS) -> None:
        """`now_ms` is Redis' clock, `ttl_ms` is how long a confirmed placement is sticky."""
        self._now_ms = now_ms
        self._ttl_ms = ttl_ms
        self._most = most
        self._calls: dict[str, str] = {}
        """`confirmation_facts` by `_own_name` or `_name`, in the order in which they were remembered."""
        self._unknown_generations_until = 0

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def now_ms(self) -> int:
        """Redis' clock, in ms."""
        return self._now_ms()

    def of(self, call: CallId) -> ConfirmedPlacement | None:
        """Return where the issuer's call is; `None` when it is not known, or was confirmed too long ago."""
        own, without_key = _own_name(call), call._replace(channel_key_fingerprint="")
        for name in (own, _name(call), _name(without_key)):
            facts = self._calls.get(name)
            if facts is not None and (name != own or _is_of(facts, call)):
                return self._placement(name, facts) if self._is_sticky(facts) else None
        return None

    def has_other_key(self, call: CallId) -> bool:
        """Return whether a call of another channel key has the issuer's own name."""
        owners = self._calls.get(_own_name(call))
        if owners is None or not call.channel_key_fingerprint or _is_of(owners, call):
            return False
        return self._is_sticky(owners)

    def all(self) -> Iterator[ConfirmedPlacement]:
        """Yield every call that is sticky now, in the order to confirm them: `app.channels.outbox.owners_first`.

        Each is made when it is asked for: 50,000 at once would stop the event loop.
        """
        for name, facts in sorted(self._calls.items(), key=_is_of_other_key):
            if self._is_sticky(facts):
                yield self._placement(name, facts)

    def remember(self, placement: ConfirmedPlacement) -> None:
        """Keep a placement, unless a later one of the same issuer is known."""
        facts = confirmation_facts(placement)
        self._keep(placement.call, facts, placement.confirmed_at, placement.has_other_key)

    def remember_entry(self, entry: str) -> None:
        """As `remember`, of an entry of the stream of confirmations."""
        tenant, fingerprint, _, _, _, _, at, _, _, other, issuer = entry.split("\n", 10)
        facts = entry[len(tenant) + 1 : -len(issuer) - 1]
        self._keep((tenant, issuer, fingerprint), facts, int(at), other == "1")

    def _keep(self, call: _Call, facts: str, at: int, has_other_key: bool) -> None:
        calls = self._calls
        own = name = _own_name(call)
        owners = former = calls.get(own)
        if owners is None or not _is_of(owners, call):
            name = _name(call)
            former = calls.get(name)
        if former is not None:
            if _confirmed_at(former) > at:
                return
            del calls[name]
        if call[2] and not has_other_key and name is not own:
            name = own
            if owners is not None:  # another channel key had the issuer's own name until now
                calls[_name((*call[:2], owners.partition("\n")[0]))] = calls.pop(own)
        calls[name] = facts
        if len(calls) > self._most:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Forget a hundredth at once: a dictionary finds its first entry slowly once others before it are deleted."""
        for name in list(islice(self._calls, max(1, self._most // 100))):
            del self._calls[name]

    def _is_sticky(self, facts: str) -> bool:
        return _confirmed_at(facts) + self._ttl_ms > self._now_ms()

    def _placement(self, name: str, facts: str) -> ConfirmedPlacement:
        _, tenant, issuer = name.split("\n", 2)
        return self.dated(confirmed_placement(f"{tenant}\n{facts}\n{issuer}"))

    def forget_generations(self) -> None:
        """Begin anew with generations: the registry has lost its data and counts from 1 again."""
        self._unknown_generations_until = self._now_ms() + _UNDER_WAY_MS

    def dated(self, placement: ConfirmedPlacement) -> ConfirmedPlacement:
        """Return `placement`, without its generation where that is one of lost data."""
        if placement.generation and placement.confirmed_at <= self._unknown_generations_until:
            return replace(placement, generation=0)
        return placement


def _name(call: _Call) -> str:
    tenant, issuer, fingerprint = call
    return f"{fingerprint}\n{tenant}\n{issuer}"


def _own_name(call: _Call) -> str:
    """The issuer's own name: of a call whose channel key has it."""
    return f"*\n{call[0]}\n{call[1]}"


def _is_of(facts: str, call: _Call) -> bool:
    """Whether they are of the call's channel key."""
    return facts.startswith(call[2] + "\n")


def _confirmed_at(facts: str) -> int:
    return int(facts.rsplit("\n", 4)[1])


def _is_of_other_key(call: tuple[str, str]) -> bool:
    return call[1].endswith("\n1")


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
            self._position, entries = await self._log.recent_confirmations(self._position, count)
            for entry in entries:
                self._memory.remember_entry(entry)
            if is_first or len(entries) < count:
                return

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow in the background for as long as the block runs. Fails open: without Redis it waits for Redis."""
        async with in_background(repeated(self.catch_up, lambda: _PAUSE_S, RegistryUnavailable)):
            yield
