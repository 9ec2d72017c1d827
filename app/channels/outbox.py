"""Calls that this replica placed without Redis, until Redis knows them."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from app.registry.placements import CallId, ConfirmedPlacement

_MOST_CALLS: Final = 50_000
AT_ONCE: Final = 100
"""Confirmations that are done with together; repeated ones change nothing."""


class Outbox:
    """Keeps the newest call of each issuer. When it is full, the oldest calls go."""

    def __init__(self) -> None:
        self._calls: OrderedDict[CallId, ConfirmedPlacement] = OrderedDict()
        self._untold: dict[CallId, ConfirmedPlacement] = {}
        self._has_untold = asyncio.Event()

    def __len__(self) -> int:
        return len(self._calls)

    def keep(self, placement: ConfirmedPlacement) -> None:
        """Keep a call in place of the issuer's former one."""
        call = placement.call
        self._calls[call] = self._untold[call] = placement
        self._calls.move_to_end(call)
        self._has_untold.set()
        if len(self._calls) > _MOST_CALLS:
            forgotten, _ = self._calls.popitem(last=False)
            self._untold.pop(forgotten, None)

    def batch(self) -> list[ConfirmedPlacement]:
        """Return some of the calls that are kept; none when all are done with."""
        return owners_first(self._calls.values())[:AT_ONCE]

    def drop(self, placements: Iterable[ConfirmedPlacement]) -> None:
        """Let go of calls that Redis knows, unless the issuer has a newer one."""
        for placement in placements:
            call = placement.call
            if self._calls.get(call) is placement:
                del self._calls[call]
                self._untold.pop(call, None)

    async def next_untold(self) -> list[ConfirmedPlacement]:
        """Wait for calls that were kept and not returned by this method yet, and return some of them."""
        await self._has_untold.wait()
        placements = owners_first(self._untold.values())[:AT_ONCE]
        for placement in placements:
            del self._untold[placement.call]
        if not self._untold:
            self._has_untold.clear()
        return placements

    def return_untold(self, placements: Iterable[ConfirmedPlacement]) -> None:
        """Have `next_untold` return these calls again, unless they are not kept any more."""
        for placement in placements:
            if self._calls.get(placement.call) is placement:
                self._untold[placement.call] = placement
                self._has_untold.set()


def owners_first(placements: Iterable[ConfirmedPlacement]) -> list[ConfirmedPlacement]:
    """Return calls in the order to confirm them: of two keys that share an issuer, the first has its name."""
    return sorted(placements, key=lambda placement: placement.has_other_key)
