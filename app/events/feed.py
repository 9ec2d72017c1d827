"""Transitions for viewers: one poll of the outbox stream per replica, any number of viewers.

Each viewer has its own position in the stream, so there is no queue that a slow viewer could fill. The feed keeps the
newest events, each encoded once for all viewers. Viewers never make the replica read Redis. A viewer that asks for
older events, or falls behind by more, gets an event `gap`.
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from app.background import in_background, repeated
from app.errors import RegistryUnavailable
from app.events.event import GAP, Event, read_event
from app.registry.registry import Registry
from app.registry.stream_ids import BEFORE_ALL, parse_stream_id

_POLL_S: Final = 0.25
_PER_READ: Final = 200
_LOOK_UP_S: Final = 1.0
_KEEP_ALIVE_S: Final = 15.0
DEFAULT_REPLAY: Final = 1_000
_FRAMES_PER_WRITE: Final = 100
"""About 25 KB, so that requests are served between the pieces of a replay."""

_Order: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Frame:
    """One event as viewers get it (https://html.spec.whatwg.org/#server-sent-events)."""

    order: _Order
    id: str
    text: bytes


class EventFeed:
    """Keeps the newest events, and lets viewers wait for more."""

    def __init__(
        self,
        registry: Registry,
        replay: int = DEFAULT_REPLAY,
        *,
        frames_per_write: int = _FRAMES_PER_WRITE,
        poll_s: float = _POLL_S,
        look_up_s: float = _LOOK_UP_S,
        keep_alive_s: float = _KEEP_ALIVE_S,
    ) -> None:
        """Follow the outbox of `registry`; keep the newest `replay` events."""
        self._registry = registry
        self._frames_per_write = frames_per_write
        self._poll_s = poll_s
        self._look_up_s = look_up_s
        self._keep_alive_s = keep_alive_s
        self._replay = replay
        self._recent: deque[Frame] = deque()
        self._dropped: Frame | None = None  # the newest event that is no longer kept
        self._last_id: str | None = None  # of the stream's newest event, once it was found
        self._news = asyncio.Condition()
        self._is_closed = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Find the end of the outbox, then follow it in the background for as long as the block runs.

        Fails open: without Redis the feed finds the end later, and viewers wait for it.
        """
        with contextlib.suppress(RegistryUnavailable):
            await self._poll()
        async with in_background(repeated(self._poll, lambda: self._poll_s, RegistryUnavailable)):
            yield

    def close(self) -> None:
        """End all viewers' streams within a second: the replica stops, and another one serves them."""
        self._is_closed = True

    async def follow(self, after: str | None) -> AsyncIterator[bytes | None]:
        """Yield the events after the stream id `after` (`None`: from now on) as frames, oldest first.

        A piece has up to `frames_per_write` frames. Every `keep_alive_s` without an event yields `None`, so that
        the connection does not look dead.
        """
        last, idle_s = parse_stream_id(after) if after else None, 0.0
        while not self._is_closed:
            newest = self._last_id
            last = last or (parse_stream_id(newest) if newest else None)
            frames = self._after(last) if last else []
            if frames:
                last, idle_s = frames[-1].order, 0.0
                yield b"".join(frame.text for frame in frames)
                await asyncio.sleep(0)  # lets requests run before the next piece
            elif not await self._moves_on(newest):
                idle_s += self._look_up_s
            if idle_s >= self._keep_alive_s:
                yield None
                idle_s = 0.0

    def _after(self, last: _Order) -> Sequence[Frame]:
        """Return the next frames after `last`. The first is a `gap` when some of them are no longer kept."""
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
        return [self._recent[i] for i in range(start, min(start + self._frames_per_write, len(self._recent)))]

    async def _moves_on(self, newest: str | None) -> bool:
        """Wait up to `look_up_s` for an event newer than `newest`. Returns whether there is one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._look_up_s), self._news:
                await self._news.wait_for(lambda: self._last_id != newest)
                return True
        return False

    async def _poll(self) -> None:
        if self._last_id is None:
            kept = await self._registry.outbox.newest_events(self._replay + 1)
            await self._move_on([read_event(*entry) for entry in kept], kept[-1][0] if kept else BEFORE_ALL)
            return
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
    return Frame(parse_stream_id(event["id"]), event["id"], text.encode())


def _gap(dropped: Frame, first: Frame) -> Frame:
    """Return the frame that tells a viewer that events up to `dropped` are missing and `first` is next."""
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
