"""Calls that this replica placed without Redis, until Redis knows them."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from app.channels.call_memory import CallName, name_of
from app.registry.placements import ConfirmedPlacement

_MOST_CALLS: Final = 50_000
AT_ONCE: Final = 100
"""Confirmations that are done with together; repeated ones change nothing."""


class Outbox:
    """Keeps the newest call of each issuer. When it is full, the oldest calls go."""

    def __init__(self) -> None:
        self._calls: OrderedDict[CallName, ConfirmedPlacement] = OrderedDict()
        self._untold: dict[CallName, ConfirmedPlacement] = {}
        self._has_untold = asyncio.Event()

    def __len__(self) -> int:
        return len(self._calls)

    def keep(self, call: ConfirmedPlacement) -> None:
        """Keep a call in place of the issuer's former one."""
        name = name_of(call)
        self._calls[name] = self._untold[name] = call
        self._calls.move_to_end(name)
        self._has_untold.set()
        if len(self._calls) > _MOST_CALLS:
            forgotten, _ = self._calls.popitem(last=False)
            self._untold.pop(forgotten, None)

    def batch(self) -> list[ConfirmedPlacement]:
        """Return some of the calls that are kept; none when all are done with."""
        return owners_first(self._calls.values())[:AT_ONCE]

    def drop(self, calls: Iterable[ConfirmedPlacement]) -> None:
        """Let go of calls that Redis knows, unless the issuer has a newer one."""
        for call in calls:
            name = name_of(call)
            if self._calls.get(name) is call:
                del self._calls[name]
                self._untold.pop(name, None)

    async def next_untold(self) -> list[ConfirmedPlacement]:
        """Wait for calls that were kept and not returned by this method yet, and return some of them."""
        await self._has_untold.wait()
        calls = owners_first(self._untold.values())[:AT_ONCE]
        for call in calls:
            del self._untold[name_of(call)]
        if not self._untold:
            self._has_untold.clear()
        return calls

    def return_untold(self, calls: Iterable[ConfirmedPlacement]) -> None:
        """Have `next_untold` return these calls again, unless they are not kept any more."""
        for call in calls:
            if self._calls.get(name_of(call)) is call:
                self._untold[name_of(call)] = call
                self._has_untold.set()


def owners_first(calls: Iterable[ConfirmedPlacement]) -> list[ConfirmedPlacement]:
    """Return the calls in the order to confirm them: of two keys that share an issuer, the first has its name."""
    return sorted(calls, key=lambda call: call.has_other_key)
