"""Transitions for viewers: one poll of the outbox stream per replica, any number of viewers.

Viewers keep their own place in the stream, so there is no queue that a slow one could fill: whoever falls
behind what is kept here reads on from Redis.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from app.background import in_background
from app.errors import RegistryUnavailable
from app.events.event import Event, read_event
from app.registry.registry import Registry

_POLL_S: Final = 0.25
_KEPT: Final = 1_000
_PER_READ: Final = 200
_LOOK_UP_S: Final = 1.0
KEEP_ALIVE_S: Final = 15.0


class EventFeed:
    """The newest events, and a way to wait for more."""

    def __init__(self, registry: Registry) -> None:
        """Take the `registry` whose outbox is followed."""
        self._registry = registry
        self._recent: deque[Event] = deque(maxlen=_KEPT)
        self._last_id: str | None = None  # of the stream's newest event, once it was found
        self._news = asyncio.Condition()
        self._is_closed = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the outbox in the background for as long as the block runs."""
        async with in_background(self._poll_forever()):
            yield

    def close(self) -> None:
        """End all viewers' streams within a second: the replica is going, another one will serve them."""
        self._is_closed = True

    async def follow(self, after: str | None) -> AsyncIterator[Event | None]:
        """Yield every event after the stream id `after` (`None`: from now on), oldest first.

        `None` is yielded when nothing has happened for a while, so that the connection shows life.
        """
        last, idle_s = after, 0.0
        while not self._is_closed:
            newest = self._last_id
            last = last or newest
            events = await self._after(last, newest) if last and newest else []
            for event in events:
                yield event
                last, idle_s = event["id"], 0.0
            if not events and not await self._moves_on(newest):
                idle_s += _LOOK_UP_S
            if idle_s >= KEEP_ALIVE_S:
                yield None
                idle_s = 0.0

    async def _after(self, last: str, newest: str) -> Sequence[Event]:
        """The next events after `last`, as far as they can be had."""
        if _order(newest) <= _order(last):
            return []
        if self._recent and _order(self._recent[0]["id"]) <= _order(last):
            return [event for event in self._recent if _order(event["id"]) > _order(last)]
        try:
            entries = await self._registry.events_after(last, _PER_READ)
        except RegistryUnavailable:
            return []
        return [read_event(stream_id, fields) for stream_id, fields in entries]

    async def _moves_on(self, newest: str | None) -> bool:
        """Wait for an event newer than `newest`, at most until it is time to look whether the feed is closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_UP_S), self._news:
                await self._news.wait_for(lambda: self._last_id != newest)
                return True
        return False

    async def _poll_forever(self) -> None:
        while True:
            with contextlib.suppress(RegistryUnavailable):
                await self._poll()
            await asyncio.sleep(_POLL_S)

    async def _poll(self) -> None:
        if self._last_id is None:
            await self._move_on([], await self._registry.last_event_id())
            return  # viewers take note of where it starts
        while entries := await self._registry.events_after(self._last_id, _PER_READ):
            await self._move_on([read_event(*entry) for entry in entries], entries[-1][0])

    async def _move_on(self, events: Sequence[Event], newest: str) -> None:
        async with self._news:
            self._recent += events
            self._last_id = newest
            self._news.notify_all()


def _order(stream_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = stream_id.partition("-")
    return int(milliseconds), int(sequence or 0)
