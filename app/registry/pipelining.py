"""Script calls that are made in the same moment go to Redis together, as one pipeline.

A call of its own costs redis-py several times what it costs as one of many. Calls wait for nothing but the end
of the event loop's turn, or, while as many pipelines are under way as may be, for one of them to end: the
busier the replica, the more calls share a pipeline.

Callers may be cancelled: what they asked runs, and its reply is dropped. Nobody gets another one's reply.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

MOST_UNDER_WAY: Final = 2
"""Pipelines. A second one keeps Redis busy while the first one's replies travel; more would only be smaller."""

_STALLED_S: Final = 0.03
"""A pipeline that takes this long waits for a lost packet, and nobody else has to: it does not count any more."""

_MOST_IN_ALL: Final = 16
"""Pipelines under way, stalled or not: when Redis itself hangs, more would not help."""

_TURNS_OF_GRACE: Final = 5
"""Of the event loop: one reads the socket, the others parse what came."""


@dataclass(slots=True, eq=False)
class _Call:
    """One script call: as EVALSHA wants it after the hash, and whoever waits for the reply."""

    sha: str
    text: str
    arguments: Sequence[Any]
    reply: asyncio.Future[Any]
    deadline: float


class ScriptPipeline:
    """Sends script calls to one Redis, those of one turn of the event loop together."""

    def __init__(self, client: Redis, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._waiting: list[_Call] = []
        self._is_due = False
        self._under_way: dict[asyncio.Task[None], float] = {}
        self._alarm: asyncio.TimerHandle | None = None

    async def call(self, sha: str, text: str, arguments: Sequence[Any]) -> Any:
        """Run the script known by `sha`, or `text` where Redis has forgotten it, and return its reply.

        Raises:
            RedisError, OSError: as a call of its own would; `TimeoutError` when its time is over.
        """
        loop = asyncio.get_running_loop()
        call = _Call(sha, text, arguments, loop.create_future(), loop.time() + self._timeout_s)
        self._waiting.append(call)
        self._send_soon(loop)
        return await call.reply

    def _send_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._waiting or self._is_due or len(self._under_way) >= _MOST_IN_ALL:
            return
        fresh_since = loop.time() - _STALLED_S
        if sum(started > fresh_since for started in self._under_way.values()) < MOST_UNDER_WAY:
            self._is_due = True
            loop.call_soon(self._send, loop)
        elif self._alarm is None:
            self._alarm = loop.call_later(_STALLED_S, self._look_again, loop)

    def _look_again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = None
        self._send_soon(loop)

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_due = False
        calls = [call for call in self._waiting if not call.reply.done()]  # some were cancelled meanwhile
        self._waiting.clear()
        if calls:
            task = loop.create_task(self._run(calls))
            self._under_way[task] = loop.time()
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        self._send_soon(task.get_loop())

    async def _run(self, calls: Sequence[_Call]) -> None:
        """Answer all of `calls`. The first one was made first: its time is the pipeline's."""
        try:
            async with _until(calls[0].deadline):
                replies = await self._pipeline([("EVALSHA", call.sha, call.arguments) for call in calls])
                forgotten = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
                if forgotten:
                    again = [("EVAL", calls[index].text, calls[index].arguments) for index in forgotten]
                    for index, reply in zip(forgotten, await self._pipeline(again), strict=True):
                        replies[index] = reply
        except BaseException as error:  # whatever it was, nobody may wait for ever
            for call in calls:
                _answer(call, error)
            if not isinstance(error, Exception):
                raise
        else:
            for call, reply in zip(calls, replies, strict=True):
                _answer(call, reply)

    async def _pipeline(self, commands: Sequence[tuple[str, str, Sequence[Any]]]) -> list[Any]:
        """Send `commands` at once and return a reply, or an error of Redis', for each.

        redis-py's own pipeline takes twice the CPU: it sets a timeout for each reply, where ours is for all.
        A connection that turns out to be dead is made anew and asked once more, as with a single call.
        """
        pool = self._client.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            packed = connection.pack_commands(
                [(name, script, 1, *arguments) for name, script, arguments in commands]
            )
            try:
                return await _exchange(connection, packed, len(commands))
            except RedisConnectionError:
                await connection.disconnect(nowait=True)
                return await _exchange(connection, packed, len(commands))
        except BaseException:  # replies may be on their way: nobody else may read them
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)


async def _exchange(connection: AbstractConnection, packed: Sequence[bytes], count: int) -> list[Any]:
    await connection.send_packed_command(packed)
    replies: list[Any] = []
    for _ in range(count):
        try:
            replies.append(await connection.read_response(timeout=math.inf))
        except ResponseError as error:
            replies.append(error)
    return replies


@asynccontextmanager
async def _until(deadline: float) -> AsyncIterator[None]:
    """End the block with `TimeoutError` at `deadline`, but not before what has arrived by then was looked at.

    On a replica that is late itself, timers come due together with the replies they wait for. Taking that
    for a silent Redis would give Redis up for being busy.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        is_over = False

        def expire(turns: int) -> None:
            if turns:
                loop.call_soon(expire, turns - 1)
            elif not is_over:
                limit.reschedule(loop.time())

        timer = loop.call_at(deadline, expire, _TURNS_OF_GRACE)
        try:
            yield
        finally:
            is_over = True
            timer.cancel()


def _answer(call: _Call, reply: Any) -> None:
    if call.reply.done():
        return
    if isinstance(reply, BaseException):
        call.reply.set_exception(reply)
    else:
        call.reply.set_result(reply)
