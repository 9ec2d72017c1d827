"""Script calls of one iteration of the event loop go to Redis together, as one pipeline.

A single call costs redis-py several times the CPU of a call in a pipeline. A call waits for the end of the iteration
only. While the maximum of pipelines is under way, it waits for one of them to end: the busier the replica, the more
calls share a pipeline. A call without a waiting caller goes with the next pipeline.

redis-py opens the connections: it resolves, authenticates, and asks Sentinel. An open connection is a `_Lane`, which
hands replies to their callers as they arrive, without a stream, a task and a timer for each pipeline.

A cancelled caller's call still runs, and its reply is dropped. A caller never gets the reply of another call.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import hiredis
from redis._parsers import BaseParser
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, NoScriptError, ReadOnlyError

from app.registry.trouble import lost_connection

MOST_UNDER_WAY: Final = 2
"""Pipelines at once. The second one keeps Redis busy while replies of the first one travel; more would be smaller."""

MOST_DELAY_S: Final = 0.01
"""How long a call without a waiting caller is kept for the next pipeline."""

_STALLED_S: Final = 0.03
"""A pipeline that takes longer waits for a lost packet. It stops to count, so that other calls do not wait for it."""

_MOST_IN_ALL: Final = 16
"""Pipelines under way, stalled ones included: when Redis itself hangs, more would not help."""

_IDLE_S: Final = 5.0
"""A connection that was idle for longer may have been dropped by a firewall; redis-py's pool has a fresher one."""

_ITERATIONS_OF_GRACE: Final = 5
"""Iterations of the event loop. On a busy replica, a timer and the reply that it waits for come due together. Without
this grace a busy replica would give up a Redis that has answered."""

_INCOMPLETE: Final = object()


@dataclass(slots=True, eq=False)
class _Call:
    """One call: as it is sent, how it is sent when Redis has forgotten the script, and the reply to come."""

    packed: bytes
    text: str
    arguments: Sequence[Any]
    reply: asyncio.Future[Any]
    deadline: float


@dataclass(slots=True, eq=False)
class _Batch:
    """The calls of one pipeline, and how many of them are answered. The first one was made first."""

    calls: Sequence[_Call]
    started: float
    answered: int = 0
    forgotten: list[_Call] = field(default_factory=list)
    """Redis does not know their scripts any more."""
    is_repeated: bool = False
    """Whether it is sent for the second time, on a connection that was made for it."""
    is_expiring: bool = False
    lane: "_Lane | None" = None

    @property
    def deadline(self) -> float:
        return self.calls[0].deadline


class _Lane(asyncio.Protocol):
    """One open connection, with one pipeline under way at most."""

    def __init__(
        self,
        connection: AbstractConnection,
        on_end: Callable[["_Lane", _Batch], None],
        on_lost: Callable[["_Lane", Exception], None],
    ) -> None:
        """`on_end` hears of each batch whose replies are there, `on_lost` of the end of the connection."""
        self.connection = connection
        self.batch: _Batch | None = None
        self.idle_since = 0.0
        self._is_lost = False
        self._on_end = on_end
        self._on_lost = on_lost
        writer = connection._writer  # noqa: SLF001 - redis-py offers no other way to the transport
        if writer is None or writer.transport.is_closing():
            raise RedisConnectionError("the connection is closed")
        self._transport: asyncio.WriteTransport = writer.transport
        self._streams = self._transport.get_protocol()
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=BaseParser.parse_error,
            encoding="utf-8",
            notEnoughData=_INCOMPLETE,
        )
        self._transport.set_protocol(self)

    def send(self, batch: _Batch, commands: Sequence[bytes]) -> None:
        """Send the commands of `batch`."""
        self.batch, batch.lane = batch, self
        self._transport.write(b"".join(commands))

    def close(self) -> None:
        """Close at once. `on_lost` is told."""
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner, and redis-py's streams, whose `disconnect` waits for it."""
        self._streams.connection_lost(exc)
        self._lose(exc or RedisConnectionError("Connection closed by server."))

    def _lose(self, error: Exception) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._on_lost(self, error)

    def data_received(self, data: bytes) -> None:
        """Hand out the replies in `data`, in the order of the calls."""
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _INCOMPLETE and not self._is_lost:
                if not isinstance(reply, hiredis.PushNotification):
                    self._answer(reply)
        except InvalidResponse as error:
            self._lose(error)

    def _answer(self, reply: Any) -> None:
        batch = self.batch
        if batch is None:
            raise InvalidResponse("a reply to nothing")
        call = batch.calls[batch.answered]
        batch.answered += 1
        if not isinstance(reply, Exception):
            if not call.reply.done():
                call.reply.set_result(reply)
        elif isinstance(reply, ReadOnlyError) and not batch.is_repeated:
            self._lose(reply)  # the server is the primary no more
            return
        elif isinstance(reply, NoScriptError):
            batch.forgotten.append(call)
        elif not call.reply.done():
            call.reply.set_exception(reply)
        if batch.answered == len(batch.calls):
            self._end(batch)

    def _end(self, batch: _Batch) -> None:
        if batch.forgotten:
            batch.calls, batch.answered, batch.forgotten = batch.forgotten, 0, []
            commands = [("EVAL", call.text, 1, *call.arguments) for call in batch.calls]
            self.send(batch, [hiredis.pack_command(command) for command in commands])
        else:
            self.batch = None
            self._on_end(self, batch)


class ScriptPipeline:
    """Sends script calls to one Redis, those of one iteration of the event loop together."""

    def __init__(self, client: Redis, timeout_s: float) -> None:
        self._pool = client.connection_pool
        self._timeout_s = timeout_s
        self._waiting: list[_Call] = []
        self._is_due = False
        self._under_way: dict[_Batch, None] = {}
        self._idle: list[_Lane] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._delay: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None

    def call(
        self, sha: str, text: str, arguments: Sequence[Any], *, may_wait: bool = False
    ) -> asyncio.Future[Any]:
        """Run the script known by `sha`, or `text` where Redis has forgotten it; return its reply to come.

        With `may_wait` the call is sent with the next pipeline, after `MOST_DELAY_S` at the latest.

        The future raises:
            RedisError, OSError: as a call of its own would; `TimeoutError` when its time is over.
        """
        packed = hiredis.pack_command(("EVALSHA", sha, 1, *arguments))
        return self._add(packed, text, arguments, may_wait=may_wait)

    def send(self, *words: Any) -> asyncio.Future[Any]:
        """Send a plain command; return its reply to come, as Redis writes it. Raises as `call`."""
        return self._add(hiredis.pack_command(words), "", (), may_wait=False)

    def _add(
        self, packed: bytes, text: str, arguments: Sequence[Any], *, may_wait: bool
    ) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        call = _Call(packed, text, arguments, loop.create_future(), loop.time() + self._timeout_s)
        self._waiting.append(call)
        if not may_wait:
            self._send_soon(loop)
        elif self._delay is None:
            self._delay = loop.call_later(MOST_DELAY_S, self._delay_is_over, loop)
        return call.reply

    def drop_idle(self) -> None:
        """Close the connections that are not in use: new ones ask Sentinel who is primary now."""
        lanes, self._idle = self._idle, []
        for lane in lanes:
            lane.close()

    def _delay_is_over(self, loop: asyncio.AbstractEventLoop) -> None:
        self._delay = None
        self._send_soon(loop)

    def _send_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._waiting or self._is_due or len(self._under_way) >= _MOST_IN_ALL:
            return
        if len(self._under_way) < MOST_UNDER_WAY or self._fresh_pipelines(loop) < MOST_UNDER_WAY:
            self._is_due = True
            loop.call_soon(self._send, loop)
        elif self._alarm is None:
            self._alarm = loop.call_later(_STALLED_S, self._look_again, loop)

    def _fresh_pipelines(self, loop: asyncio.AbstractEventLoop) -> int:
        fresh_since = loop.time() - _STALLED_S
        return sum(batch.started > fresh_since for batch in self._under_way)

    def _look_again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = None
        self._send_soon(loop)

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_due = False
        if self._delay is not None:
            self._delay.cancel()
            self._delay = None
        calls = [call for call in self._waiting if not call.reply.done()]  # some were cancelled meanwhile
        self._waiting.clear()
        if not calls:
            return
        now = loop.time()
        batch = _Batch(calls, now)
        self._under_way[batch] = None
        if self._watch is None:
            self._watch = loop.call_at(batch.deadline, self._look_at_deadlines, loop)
        while self._idle:
            lane = self._idle.pop()
            if lane.idle_since + _IDLE_S >= now:
                lane.send(batch, [call.packed for call in calls])
                return
            lane.close()
        self._start(loop, self._connect(batch))

    def _start(self, loop: asyncio.AbstractEventLoop, work: Any) -> None:
        task = loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, batch: _Batch) -> None:
        """Send `batch` on another connection of the pool."""
        try:
            async with asyncio.timeout_at(batch.deadline):
                lane = await self._open_lane()
        except BaseException as error:  # whatever it was, nobody may wait for ever
            self._fail(batch, lost_connection(error) or error)
            if not isinstance(error, Exception):
                raise
            return
        if batch in self._under_way:
            lane.send(batch, [call.packed for call in batch.calls])
        else:
            lane.close()

    async def _open_lane(self) -> _Lane:
        connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            return _Lane(connection, self._ended, self._lost)
        except RedisConnectionError:
            await self._put_back(connection)
            raise

    def _ended(self, lane: _Lane, batch: _Batch) -> None:
        """All replies of `batch` are there."""
        loop = asyncio.get_running_loop()
        del self._under_way[batch]
        if len(self._idle) < MOST_UNDER_WAY:
            lane.idle_since = loop.time()
            self._idle.append(lane)
        else:
            lane.close()
        self._send_soon(loop)

    def _lost(self, lane: _Lane, error: Exception) -> None:
        """A connection is of no use any more. The calls that it leaves unanswered are asked once more."""
        batch, lane.batch = lane.batch, None
        if lane in self._idle:
            self._idle.remove(lane)
        if batch is not None:
            self.drop_idle()  # what has happened to one may have happened to all
            calls = [call for call in batch.calls if not call.reply.done()]
            if batch.is_repeated or not calls:
                self._fail(batch, error)
            else:
                batch.calls, batch.answered, batch.forgotten = calls, 0, []
                batch.is_repeated = True
                self._start(asyncio.get_running_loop(), self._connect(batch))
        self._start(asyncio.get_running_loop(), self._put_back(lane.connection))

    async def _put_back(self, connection: AbstractConnection) -> None:
        """Give a connection that is of no use back to the pool, closed."""
        await connection.disconnect(nowait=True)
        await self._pool.release(connection)

    def _fail(self, batch: _Batch, error: BaseException) -> None:
        self._under_way.pop(batch, None)
        for call in batch.calls:
            if not call.reply.done():
                call.reply.set_exception(error)
        self._send_soon(asyncio.get_running_loop())

    # Deadlines: one timer for all pipelines, which is not moved when they end

    def _look_at_deadlines(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watch = None
        now, coming = loop.time(), []
        for batch in self._under_way:
            if batch.is_expiring:
                continue
            if batch.deadline <= now:
                batch.is_expiring = True
                loop.call_soon(self._expire, loop, batch, _ITERATIONS_OF_GRACE)
            else:
                coming.append(batch.deadline)
        if coming:
            self._watch = loop.call_at(min(coming), self._look_at_deadlines, loop)

    def _expire(self, loop: asyncio.AbstractEventLoop, batch: _Batch, iterations: int) -> None:
        """End `batch`, but not before what has arrived by now was looked at."""
        if batch not in self._under_way:
            return
        if iterations:
            loop.call_soon(self._expire, loop, batch, iterations - 1)
            return
        batch.is_repeated = True
        lane, batch.lane = batch.lane, None
        self._fail(batch, TimeoutError("Redis did not reply in time"))
        if lane is not None and lane.batch is batch:
            lane.batch = None
            lane.close()
