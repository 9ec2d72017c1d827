"""Connections to SFUs over real sockets: used again, for no longer than an SFU keeps them, and closed."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.upstream.addresses import AddressGuard
from app.upstream.connection import Answer
from app.upstream.pool import MAX_IDLE_PER_ORIGIN, ConnectionPool
from tests.support.pools import ANSWER, Runner, ask, ask_at_once, idle, on_each_loop
from tests.support.scripted_server import Peer, answer, answers_always, scripted_server
from tests.support.waiting import eventually


@pytest.fixture
async def pool() -> AsyncIterator[ConnectionPool]:
    """An open pool that may go anywhere ordinary."""
    pool = ConnectionPool(AddressGuard())
    yield pool
    await pool.close()


async def test_a_connection_is_used_again(pool: ConnectionPool) -> None:
    async with scripted_server(answers_always) as server:
        for _ in range(5):
            assert await ask(pool, server.address) == ANSWER
        assert server.accepted == 1


async def test_each_server_has_connections_of_its_own(pool: ConnectionPool) -> None:
    async with scripted_server(answers_always) as one, scripted_server(answers_always) as other:
        for server in (one, other, one, other):
            await ask(pool, server.address)
        assert (one.accepted, other.accepted) == (1, 1)


async def test_requests_at_one_time_have_connections_of_their_own(pool: ConnectionPool) -> None:
    async with scripted_server(answers_always) as server:
        await ask_at_once(pool, server.address, 20)
        assert server.accepted == 20
        await ask_at_once(pool, server.address, 20)
        assert server.accepted == 20


async def test_idle_connections_are_bounded_and_those_in_use_are_not(pool: ConnectionPool) -> None:
    number = MAX_IDLE_PER_ORIGIN + 6
    async with scripted_server(answers_always) as server:
        await ask_at_once(pool, server.address, number)
        assert server.accepted == number
        assert idle(pool, server.address) == MAX_IDLE_PER_ORIGIN
        await eventually(lambda: len(server.open) == MAX_IDLE_PER_ORIGIN)


async def test_of_many_sfus_only_so_many_connections_stay_open() -> None:
    async with scripted_server(answers_always) as one, scripted_server(answers_always) as other:
        pool = ConnectionPool(AddressGuard(), most_kept=3)
        await ask_at_once(pool, one.address, 5)
        await ask_at_once(pool, other.address, 5)
        await eventually(lambda: len(one.open) + len(other.open) <= 3)
        assert await ask(pool, other.address) == ANSWER
        await pool.close()


async def test_one_that_was_idle_for_too_long_is_not_used_again() -> None:
    pool = ConnectionPool(AddressGuard(), idle_s=0)
    async with scripted_server(answers_always) as server:
        for _ in range(3):
            await ask(pool, server.address)
            await asyncio.to_thread(lambda: None)  # time passes
        assert server.accepted == 3
        await pool.close()


async def test_one_that_was_idle_for_too_long_is_closed_though_nobody_asks() -> None:
    pool = ConnectionPool(AddressGuard(), idle_s=0)
    async with scripted_server(answers_always) as server:
        await ask_at_once(pool, server.address, 3)
        await eventually(lambda: not server.open)
        assert idle(pool, server.address) == 0
        await pool.close()


async def test_one_in_use_is_not_closed_though_it_was_idle_long_ago() -> None:
    pool, go_on = ConnectionPool(AddressGuard(), idle_s=0.2), asyncio.Event()

    async def wait_with_the_second(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"1"))
        await peer.request()
        await go_on.wait()
        await peer.send(answer(b"2"))
        await peer.closed()

    async with scripted_server(wait_with_the_second) as slow, scripted_server(answers_always) as other:
        await ask(pool, slow.address)
        asked = asyncio.create_task(ask(pool, slow.address, timeout_s=60))
        await ask(pool, other.address)
        await eventually(lambda: not other.open)  # the pool has closed what was idle for too long
        go_on.set()
        assert await asked == Answer(200, b"2")
        await pool.close()


async def test_one_that_the_server_closes_while_idle_is_gone(pool: ConnectionPool) -> None:
    async def answer_once(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer())

    async with scripted_server(answer_once) as server:
        for number in range(1, 4):
            assert await ask(pool, server.address) == ANSWER
            assert server.accepted == number
            await eventually(lambda: idle(pool, server.address) == 0)
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    "text",
    [
        answer(b"{}", b"Connection: close"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        answer(b"{}") + answer(b"[]"),
    ],
)
async def test_one_that_ends_with_its_answer_is_closed(pool: ConnectionPool, text: bytes) -> None:
    async def answer_and_wait(peer: Peer) -> None:
        await peer.request()
        await peer.send(text)
        await peer.closed()

    async with scripted_server(answer_and_wait) as server:
        for _ in range(2):
            assert await ask(pool, server.address) == Answer(200, b"{}")
        assert server.accepted == 2
        await eventually(lambda: not server.open)


async def test_a_body_may_end_with_its_connection(pool: ConnectionPool) -> None:
    async def answer_and_close(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n", b"to be ", b"continued")

    async with scripted_server(answer_and_close) as server:
        assert await ask(pool, server.address) == Answer(200, b"to be continued")


async def test_an_answer_that_nobody_asked_for_closes_the_idle_connection(pool: ConnectionPool) -> None:
    say_more = asyncio.Event()

    async def answer_twice(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"%d" % peer.number))
        await say_more.wait()
        await peer.send(answer(b"unasked"))
        await peer.closed()

    async with scripted_server(answer_twice) as server:
        assert await ask(pool, server.address) == Answer(200, b"0")
        say_more.set()
        await eventually(lambda: not server.open)
        assert await ask(pool, server.address) == Answer(200, b"1")


# The end


async def used_and_closed() -> None:
    """Use connections, close the pool while some are idle and others wait, and look what is left."""

    async def answer_once(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer())
        await peer.closed()

    async with scripted_server(answer_once) as server, scripted_server(Peer.closed) as silent:
        pool = ConnectionPool(AddressGuard())
        await ask_at_once(pool, server.address, 3)
        waiting = asyncio.create_task(ask(pool, silent.address, timeout_s=60))
        await eventually(lambda: silent.open)
        await pool.close()
        with pytest.raises(ConnectionAbortedError):
            await waiting
        await eventually(lambda: not server.open and not silent.open)
        with pytest.raises(ConnectionAbortedError):
            await ask(pool, server.address)
        await pool.close()


@on_each_loop
@pytest.mark.filterwarnings("error")
def test_a_closed_pool_leaves_nothing_open_and_nobody_waiting(run: Runner) -> None:
    run(used_and_closed())
