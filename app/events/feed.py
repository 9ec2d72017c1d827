"""Transitions for viewers: one poll of the outbox stream per replica, any number of viewers.

Viewers keep their own place in the stream, so there is no queue that a slow one could fill. The newest events are
kept here, each encoded once for all viewers; viewers never make this replica read Redis. A viewer that asks for
older events, or falls behind by more, is told so by an event `gap`.
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from app.background import in_background
from app.errors import RegistryUnavailable
from app.events.event import GAP, Event, read_event
from app.registry.registry import Registry

_POLL_S: Final = 0.25
_PER_READ: Final = 200
_LOOK_UP_S: Final = 1.0
KEEP_ALIVE_S: Final = 15.0
DEFAULT_REPLAY: Final = 1_000
FRAMES_PER_WRITE: Final = 100
"""Some 25 KB: replays of many viewers take turns with requests."""

_Order: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Frame:
    """One event as viewers get it (https://html.spec.whatwg.org/#server-sent-events)."""

    order: _Order
    id: str
    text: bytes


class EventFeed:
    """The newest events, and a way to wait for more."""

    def __init__(self, registry: Registry, replay: int = DEFAULT_REPLAY) -> None:
        """Follow the outbox of `registry`; keep the newest `replay` events."""
        self._registry = registry
        self._replay = replay
        self._recent: deque[Frame] = deque()
        self._dropped: Frame | None = None  # the newest event that is no longer kept
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

    async def follow(self, after: str | None) -> AsyncIterator[bytes | None]:
        """Yield the events after the stream id `after` (`None`: from now on) as frames, oldest first.

        A piece has up to `FRAMES_PER_WRITE` frames. `None` is yielded when nothing has happened for a while,
        so that the connection shows life.
        """
        last, idle_s = _order(after) if after else None, 0.0
        while not self._is_closed:
            newest = self._last_id
            last = last or (_order(newest) if newest else None)
            frames = self._after(last) if last else []
            if frames:
                last, idle_s = frames[-1].order, 0.0
                yield b"".join(frame.text for frame in frames)
                await asyncio.sleep(0)  # requests before the next piece
            elif not await self._moves_on(newest):
                idle_s += _LOOK_UP_S
            if idle_s >= KEEP_ALIVE_S:
                yield None
                idle_s = 0.0

    def _after(self, last: _Order) -> Sequence[Frame]:
        """The next frames after `last`; the first is a `gap` where some are no longer kept."""
        if not self._recent or self._recent[-1].order <= last:
            return []
        if self._dropped is not None and last < self._dropped.order:
            return [_gap(self._dropped, self._recent[0])]
        missed = 0
        for frame in reversed(self._recent):
            if frame.order <= last:
                break
            missed += 1
        start = len(self._recent) - missed
        return [self._recent[i] for i in range(start, min(start + FRAMES_PER_WRITE, len(self._recent)))]

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
            kept = await self._registry.outbox.newest_events(self._replay + 1)
            await self._move_on([read_event(*entry) for entry in kept], kept[-1][0] if kept else "0-0")
            return  # viewers take note of where it starts
        while entries := await self._registry.outbox.events_after(self._last_id, _PER_READ):
            await self._move_on([read_event(*entry) for entry in entries], entries[-1][0])

    async def _move_on(self, events: Sequence[Event], newest: str) -> None:
        async with self._news:
            for event in events:
                self._recent.append(_frame(event))
                if len(self._recent) > self._replay:
                    self._dropped = self._recent.popleft()
            self._last_id = newest
            self._news.notify_all()


def _frame(event: Event) -> Frame:
    text = f"id: {event['id']}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n"
    return Frame(_order(event["id"]), event["id"], text.encode())


def _gap(dropped: Frame, first: Frame) -> Frame:
    """Tell a viewer that events up to `dropped` are not replayed; `first` is the next one it gets."""
    event: Event = {
        "id": dropped.id,
        "type": GAP,
        "address": "",
        "region": "",
        "state": "",
        "reason": f"older events are not replayed; the next one is {first.id}",
        "generation": 0,
        "at": dropped.order[0],
    }
    return _frame(event)


def _order(stream_id: str) -> _Order:
    milliseconds, _, sequence = stream_id.partition("-")
    return int(milliseconds), int(sequence or 0)
