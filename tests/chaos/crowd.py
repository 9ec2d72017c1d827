"""Callers of `/v1/channel` on raw connections: as light as Python can be, and open to being many at once."""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, cast

import httptools

PATIENCE_S: Final = 3.0
"""After so long Odoo hangs up."""

MOST_LANES: Final = 4000
"""Connections of one process. A request that finds all of them busy waits for one, and is given up like others."""

LANE_REQUESTS: Final = 10
"""Requests on one connection; then it is closed and a new one takes its place."""


@dataclass(slots=True)
class Tally:
    """Counts answers."""

    sent: int = 0
    without_retry_after: int = 0
    served_ms: list[float] = field(default_factory=list)
    refused_ms: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)

    def take(self, status: int, body: bytes, took_s: float, *, says_when: bool) -> None:
        """Count one answer."""
        if status == 503:
            self.without_retry_after += not says_when
        if status == 200:
            self.served_ms.append(took_s * 1000)
        elif status == 503 and b'"overloaded"' in body:
            self.refused_ms.append(took_s * 1000)
        else:
            self.failed[str(status)] += 1


class Lane(asyncio.Protocol):
    """One connection, with one request under way at most."""

    def __init__(self, crowd: "Crowd") -> None:
        self._crowd = crowd
        self._transport: asyncio.Transport | None = None
        self._requests = 0
        self.asked_at = crowd.now()
        """When its latest request was sent, or the connection for it begun."""
        self.is_busy = True
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request that this connection was made for, unless that took too long already."""
        self._transport = cast("asyncio.Transport", transport)
        if self.is_lost:
            self._transport.abort()
            return
        self._parser = httptools.HttpResponseParser(self)
        self.send(self.asked_at)

    def send(self, asked_at: float) -> None:
        """Send the next request; its time counts from `asked_at`."""
        self.asked_at, self.is_busy = asked_at, True
        self._requests += 1
        self._says_when, self._body = False, b""
        self._open_transport.write(self._crowd.next_request())

    def data_received(self, data: bytes) -> None:
        """Read a part of an answer."""
        self._parser.feed_data(data)

    def on_header(self, name: bytes, _: bytes) -> None:
        """Notice `Retry-After`."""
        self._says_when |= name.lower() == b"retry-after"

    def on_body(self, body: bytes) -> None:
        """Keep the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Tell of the answer."""
        self.is_busy = False
        took_s, status = self._crowd.now() - self.asked_at, self._parser.get_status_code()
        self._crowd.tally.take(status, self._body, took_s, says_when=self._says_when)
        if self._requests < self._crowd.lane_requests and self._parser.should_keep_alive():
            self._crowd.rest(self)
        else:
            self._open_transport.close()

    @property
    def _open_transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    def connection_lost(self, _: Exception | None) -> None:
        """Tell of the loss."""
        self._crowd.lose(self, why="cut off")

    def hang_up(self) -> None:
        """Give the request up."""
        self._crowd.lose(self, why="no answer in time")
        if self._transport is not None:
            self._transport.abort()


class Crowd:
    """All connections of this process."""

    def __init__(
        self,
        address: tuple[str, int],
        requests: Sequence[bytes],
        *,
        repeats: bool,
        lane_requests: int = LANE_REQUESTS,
    ) -> None:
        self.lane_requests = lane_requests
        self._address = address
        self._requests = requests
        self._repeats = repeats
        self._idle: deque[Lane] = deque()
        self._under_way: deque[tuple[float, Lane]] = deque()
        self._waiting: deque[float] = deque()
        self._lanes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.now = asyncio.get_running_loop().time
        self.tally = Tally()
        self.is_over = False

    def next_request(self) -> bytes:
        """Return the bytes of one more request."""
        self.tally.sent += 1
        return self._requests[self.tally.sent % len(self._requests)]

    def ask(self, due_at: float) -> None:
        """Send a request: on an idle connection, on a new one, or on the first that becomes free."""
        while self._idle:
            lane = self._idle.popleft()
            if not lane.is_lost:
                self._use(lane)
                return
        if self._lanes == MOST_LANES:
            self._waiting.append(due_at)
            return
        self._lanes += 1
        task = asyncio.get_running_loop().create_task(self._open())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _use(self, lane: Lane) -> None:
        now = self.now()
        self._under_way.append((now, lane))
        lane.send(now)

    async def _open(self) -> None:
        lane = Lane(self)
        self._under_way.append((lane.asked_at, lane))
        try:
            await asyncio.get_running_loop().create_connection(lambda: lane, *self._address)
        except OSError as error:
            self.lose(lane, why=type(error).__name__)

    def rest(self, lane: Lane) -> None:
        """A connection is free."""
        if self._wants_more():
            self._use(lane)
        else:
            self._idle.append(lane)

    def _wants_more(self) -> bool:
        """Whether somebody waits, who then waits no longer."""
        if self._waiting and not self.is_over:
            self._waiting.popleft()
            return True
        return self._repeats and not self.is_over

    def lose(self, lane: Lane, *, why: str) -> None:
        """A connection is gone, with the request that was under way on it."""
        if lane.is_lost:
            return
        lane.is_lost = True
        self._lanes -= 1
        self.tally.failed[why] += lane.is_busy
        if self._wants_more():
            self.ask(self.now())

    @property
    def is_answered(self) -> bool:
        """Whether nobody waits any more."""
        return not self._waiting and len(self._idle) >= self._lanes

    def give_up(self) -> None:
        """Hang up where no answer came in time; requests that found no connection are given up like others."""
        latest = self.now() - PATIENCE_S
        while self._under_way and self._under_way[0][0] < latest:
            asked_at, lane = self._under_way.popleft()
            if lane.is_busy and lane.asked_at == asked_at and not lane.is_lost:
                lane.hang_up()
        while self._waiting and self._waiting[0] < latest:
            self._waiting.popleft()
            self.tally.failed["no connection in time"] += 1
