"""Requests that are sent again, and those that are given up: an answer never goes to another request."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from random import Random
from typing import Any

import pytest

from app.upstream.addresses import AddressGuard
from app.upstream.connection import Answer, ConnectionDropped, MalformedAnswer
from app.upstream.pool import ConnectionPool
from tests.support.pools import ANSWER, TIME_LIMIT_S, Runner, ask, ask_at_once, idle, on_each_loop
from tests.support.scripted_server import Peer, ScriptedServer, answer, answers_always, scripted_server
from tests.support.waiting import eventually


@pytest.fixture
async def pool() -> AsyncIterator[ConnectionPool]:
    """An open pool that may go anywhere ordinary."""
    pool = ConnectionPool(AddressGuard())
    yield pool
    await pool.close()


# Asked twice


def drops(request_number: int, *, said: bytes = b"") -> Callable[[Peer], Coroutine[Any, Any, None]]:
    """A server whose first connection ends, `said` or not, when it gets so many requests."""

    async def script(peer: Peer) -> None:
        for number in itertools.count(1):
            await peer.request()
            if peer.number == 0 and number == request_number:
                await peer.send(said)
                return
            await peer.send(answer())

    return script


async def test_a_request_that_meets_a_closing_connection_is_sent_again_on_a_new_one(
    pool: ConnectionPool,
) -> None:
    async with scripted_server(drops(2)) as server:
        await ask(pool, server.address)
        assert await ask(pool, server.address) == ANSWER
        assert (len(server.requests), server.accepted) == (3, 2)


async def test_it_is_sent_again_on_a_new_one_though_others_are_idle(pool: ConnectionPool) -> None:
    async def answer_once(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer())
        if peer.number < 3:
            await peer.request()
            return
        await answers_always(peer)

    async with scripted_server(answer_once) as server:
        await ask_at_once(pool, server.address, 3)
        assert await ask(pool, server.address) == ANSWER
        assert (len(server.requests), server.accepted) == (5, 4)


async def test_a_request_that_a_new_connection_drops_is_not_sent_again(pool: ConnectionPool) -> None:
    async with scripted_server(drops(1)) as server:
        with pytest.raises(ConnectionDropped):
            await ask(pool, server.address)
        assert len(server.requests) == 1


async def test_a_request_that_was_answered_in_part_is_not_sent_again(pool: ConnectionPool) -> None:
    async with scripted_server(drops(2, said=b"HTTP/1.1 2")) as server:
        await ask(pool, server.address)
        with pytest.raises(MalformedAnswer):
            await ask(pool, server.address)
        assert len(server.requests) == 2


async def test_both_times_share_one_time_limit(pool: ConnectionPool) -> None:
    async def hang_up_then_hang(peer: Peer) -> None:
        await peer.request()
        if peer.number == 0:
            await peer.send(answer())
            await peer.request()
        else:
            await peer.closed()

    async with scripted_server(hang_up_then_hang) as server:
        await ask(pool, server.address)
        async with asyncio.timeout(TIME_LIMIT_S + 0.5):
            with pytest.raises(TimeoutError):
                await ask(pool, server.address)
        assert server.accepted == 2


# Given up


async def test_a_caller_that_leaves_takes_its_connection_along(pool: ConnectionPool) -> None:
    async with scripted_server(Peer.closed) as server:
        caller = asyncio.create_task(ask(pool, server.address, timeout_s=60))
        await eventually(lambda: server.open)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await eventually(lambda: not server.open)
        assert idle(pool, server.address) == 0


async def test_an_answer_that_does_not_come_takes_its_connection_along(pool: ConnectionPool) -> None:
    async with scripted_server(Peer.closed) as server:
        with pytest.raises(TimeoutError):
            await ask(pool, server.address)
        await eventually(lambda: not server.open)
        assert idle(pool, server.address) == 0


async def echo_late(peer: Peer) -> None:
    """Answer each request with its own path, some at once, some a little later, some in pieces."""
    random = Random(peer.number)
    while True:
        request = await peer.request()
        await asyncio.sleep(random.choice([0, 0, 0.001, 0.004]))
        whole = answer(request.path.encode())
        middle = random.randrange(len(whole))
        await peer.send(whole[:middle])
        await asyncio.sleep(random.choice([0, 0, 0.001]))
        await peer.send(whole[middle:])


async def no_answer_crosses() -> None:
    """Ask, 32 at a time, until 1,000 were answered and 1,000 gave up; each answer names its request."""
    pool, random, numbers = ConnectionPool(AddressGuard()), Random(7), itertools.count()
    answered = given_up = 0

    async def ask_one(server: ScriptedServer, path: str) -> None:
        assert await ask(pool, server.address, path, timeout_s=30) == Answer(200, path.encode())

    async def ask_on(server: ScriptedServer) -> None:
        nonlocal answered, given_up
        while answered < 1_000 or given_up < 1_000:
            await ask_one(server, f"/{next(numbers)}")
            answered += 1
            try:
                async with asyncio.timeout(random.choice([0, 0.001, 0.002, 0.005])):
                    await ask_one(server, f"/{next(numbers)}")
            except TimeoutError:
                given_up += 1

    async with scripted_server(echo_late) as server:
        await asyncio.gather(*(ask_on(server) for _ in range(32)))
        await pool.close()


@on_each_loop
def test_of_1000_requests_given_up_among_1000_others_no_answer_goes_to_another(run: Runner) -> None:
    run(no_answer_crosses())
