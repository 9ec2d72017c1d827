"""The memory that connections hold between two events of theirs, bounded for the whole replica.

A request that has not arrived whole, bytes behind a request that is being answered, and an answer that its caller
does not read all wait in memory for a peer that may never act. Each connection has limits of its own; this table
bounds their sum. Over the limit, the connection that has waited longest is closed. A well-behaved
caller is never among the oldest: its request arrives, and its answer leaves, within milliseconds.
"""

from collections.abc import Callable, Hashable
from typing import Final

MAX_HELD_BYTES: Final = 8 * 1024 * 1024
"""Limit of one replica: enough for 4,000 incomplete requests of 2 KiB at once."""


class HeldBytes:
    """Bytes per connection, the longest waiting connection first."""

    def __init__(self, limit: int = MAX_HELD_BYTES) -> None:
        self._limit = limit
        self._held: dict[Hashable, tuple[int, Callable[[], None]]] = {}
        self._total = 0

    @property
    def total(self) -> int:
        """Bytes that all connections hold together."""
        return self._total

    def hold(self, owner: Hashable, size: int, evict: Callable[[], None]) -> None:
        """Set the bytes of `owner` to `size`. The order is that of the first calls.

        While the sum is over the limit, the `evict` of the connection that has waited longest is called.
        """
        before = self._held.get(owner)
        self._held[owner] = (size, evict)
        self._total += size - (before[0] if before else 0)
        while self._total > self._limit:
            oldest = next(iter(self._held))
            evict_oldest = self._held[oldest][1]
            self.release(oldest)
            evict_oldest()

    def release(self, owner: Hashable) -> None:
        """Forget `owner`, which waits for nothing any more, or is closed."""
        size, _ = self._held.pop(owner, (0, None))
        self._total -= size
