"""What the tests of connection pools share: ways to ask, and the event loops of a gateway."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import pytest
import uvloop

from app.upstream.connection import Answer
from app.upstream.pool import ConnectionPool

TIME_LIMIT_S = 0.3
ANSWER = Answer(200, b'{"uuid": "x", "url": "http://sfu"}')
"""What `tests.support.scripted_server.answers_always` says."""

Runner: TypeAlias = Callable[[Coroutine[Any, Any, None]], None]

on_each_loop = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
"""Hands a test the event loops of a gateway."""


async def ask(pool: ConnectionPool, address: str, path: str = "/", timeout_s: float = TIME_LIMIT_S) -> Answer:
    """Get `path` from the server at `address`."""
    origin = pool.origin(address)
    deadline = asyncio.get_running_loop().time() + timeout_s
    return await pool.request(origin, f"GET {path}{origin.head}\r\n".encode(), 1_000, deadline=deadline)


async def ask_at_once(pool: ConnectionPool, address: str, number: int) -> None:
    """Ask so many times at the same moment."""
    answers = await asyncio.gather(*(ask(pool, address, timeout_s=5) for _ in range(number)))
    assert answers == [ANSWER] * number


def idle(pool: ConnectionPool, address: str) -> int:
    """How many connections to the server at `address` wait to be used."""
    return len(pool.origin(address).idle)
