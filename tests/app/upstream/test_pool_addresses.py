"""Where a pool connects to: the addresses of a name in their order, and nothing that is no address."""

import asyncio
import errno
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from app.errors import AddressNotAllowed
from app.upstream.addresses import AddressGuard
from app.upstream.pool import MAX_ORIGINS, ConnectionPool, NotConnected
from app.upstream.resolver import GuardedResolver
from tests.support.certificates import tls_pair
from tests.support.pools import ANSWER, TIME_LIMIT_S, ask
from tests.support.scripted_server import Peer, answer, answers_always, scripted_server
from tests.support.waiting import eventually


@pytest.fixture
async def pool() -> AsyncIterator[ConnectionPool]:
    """An open pool that may go anywhere ordinary."""
    pool = ConnectionPool(AddressGuard())
    yield pool
    await pool.close()


def pool_that_finds(found: Sequence[str], tls: ssl.SSLContext | None = None) -> ConnectionPool:
    """A pool for which each name leads to the addresses `found`."""
    guard = AddressGuard()

    async def lookup(_: str) -> Sequence[str]:
        return found

    return ConnectionPool(guard, resolver=GuardedResolver(guard, lookup=lookup), tls=tls)


async def test_addresses_of_one_host_are_tried_in_their_order_and_the_good_one_first_from_then_on() -> None:
    async with scripted_server(answers_always) as good:
        pool = pool_that_finds(["127.0.0.2", "127.0.0.1", "127.0.0.3"])
        assert await ask(pool, f"http://sfu.test:{good.port}") == ANSWER
        async with scripted_server(answers_always, host="127.0.0.2", port=good.port) as other:
            await asyncio.gather(*(ask(pool, f"http://sfu.test:{good.port}") for _ in range(3)))
            assert (good.accepted, other.accepted) == (3, 0)
            await pool.close()


async def test_an_address_that_hangs_leaves_time_for_the_next() -> None:
    """Of 0.3 s the first may take half; a connection over TLS hangs when nobody shakes hands."""
    async with scripted_server(Peer.closed) as silent:
        pool = pool_that_finds(["127.0.0.1", "127.0.0.2"])
        started = asyncio.get_running_loop().time()
        with pytest.raises(NotConnected):
            await ask(pool, f"https://sfu.test:{silent.port}")
        assert TIME_LIMIT_S / 3 < asyncio.get_running_loop().time() - started < TIME_LIMIT_S
        assert silent.accepted == 1
        await pool.close()


async def test_a_host_where_nobody_answers_is_looked_up_anew() -> None:
    async with scripted_server(answers_always) as server:
        found = ["127.0.0.2"]
        pool = pool_that_finds(found)
        address = f"http://sfu.test:{server.port}"
        with pytest.raises(NotConnected):
            await ask(pool, address)
        found[0] = "127.0.0.1"
        assert await ask(pool, address) == ANSWER
        await pool.close()


async def test_an_address_in_brackets_is_connected_to(pool: ConnectionPool) -> None:
    async with scripted_server(answers_always, host="::1") as server:
        assert await ask(pool, f"http://[::1]:{server.port}") == ANSWER
        assert server.requests[0].headers["Host"] == f"[::1]:{server.port}"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_no_resolver_is_asked_for_an_ip_address(host: str) -> None:
    pool = pool_that_finds([])
    async with scripted_server(answers_always, host=host.strip("[]")) as server:
        assert await ask(pool, f"http://{host}:{server.port}") == ANSWER
        await pool.close()


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[fe80::1%eth0]", "[::ffff:a9fe:a9fe]"])
async def test_an_ip_address_that_the_guard_refuses_is_not_connected_to(
    pool: ConnectionPool, host: str
) -> None:
    with pytest.raises(AddressNotAllowed):
        pool.origin(f"http://{host}:8070")


@pytest.mark.parametrize(
    "address",
    [
        *("ftp://sfu1", "sfu1:8070", "http://", "http://user@sfu1", "http://sfu1/", "http://sfu1/v1"),
        *("http://sfu1?a", "http://sfu1#a", "http://sfu1:99999", "http://sfu 1", "http://sfu1\r\nX: y"),
        *("http://sfu\x001", "http://sfü1", "http://[::1", "http://sfu1\t"),
    ],
)
async def test_what_is_no_address_is_not_connected_to(pool: ConnectionPool, address: str) -> None:
    with pytest.raises(ValueError, match=r"an address|Port|IPv6"):
        pool.origin(address)


async def test_addresses_are_remembered_to_a_limit(pool: ConnectionPool) -> None:
    async with scripted_server(answers_always) as server:
        await ask(pool, server.address)
        first = pool.origin(server.address)
        for number in range(MAX_ORIGINS):
            pool.origin(f"http://sfu{number}.test")
        assert not first.is_known
        await eventually(lambda: not server.open)
        assert pool.origin(server.address) is not first


async def test_a_connection_to_a_forgotten_address_is_closed_after_its_answer(pool: ConnectionPool) -> None:
    go_on = asyncio.Event()

    async def wait_and_answer(peer: Peer) -> None:
        await peer.request()
        await go_on.wait()
        await peer.send(answer())
        await peer.closed()

    async with scripted_server(wait_and_answer) as server:
        asked = asyncio.create_task(ask(pool, server.address, timeout_s=60))
        await eventually(lambda: server.requests)
        for number in range(MAX_ORIGINS):
            pool.origin(f"http://sfu{number}.test")
        go_on.set()
        assert await asked == ANSWER
        await eventually(lambda: not server.open)


async def test_the_dot_at_the_end_of_a_name_is_no_part_of_a_certificate(tmp_path: Path) -> None:
    serving, trusted = tls_pair(tmp_path, ["sfu.test"])
    async with scripted_server(answers_always, tls=serving) as server:
        pool = pool_that_finds(["127.0.0.1"], trusted)
        assert await ask(pool, f"https://sfu.test.:{server.port}", timeout_s=5) == ANSWER
        await pool.close()


async def test_the_refused_address_of_a_host_tells_more_than_the_one_without_a_route(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes = {"127.0.0.1": errno.ECONNREFUSED, "127.0.0.2": errno.ENETUNREACH}

    async def create_connection(_: object, ip: str, *__: object, **___: object) -> object:
        raise OSError(codes[ip], "made by the test")

    for found in (["127.0.0.1", "127.0.0.2"], ["127.0.0.2", "127.0.0.1"]):
        pool = pool_that_finds(found)
        with monkeypatch.context() as patch:
            patch.setattr(asyncio.get_running_loop(), "create_connection", create_connection)
            with pytest.raises(NotConnected) as caught:
                await ask(pool, "http://sfu.test:8070")
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)
        await pool.close()
