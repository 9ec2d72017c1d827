"""Clients of real stores, reached by URL, and what they do when the connection is bad."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fakeredis import FakeServer
from pydantic import SecretStr
from redis.asyncio import Redis, SSLConnection
from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.errors import RegistryUnavailable
from app.registry.client import close_client, connect, embedded_client
from app.registry.scripts import RedisClient, Script, ScriptRunner
from app.settings.model import RedisSettings
from tests.support.engines import RedisServer, any_binary
from tests.support.ports import HOST, free_port
from tests.support.proxy import FaultProxy, Faults
from tests.support.topologies import cluster, sentinel_set


@asynccontextmanager
async def client_of(url: str, **settings: Any) -> AsyncIterator[RedisClient]:
    """A client of the Redis at `url`."""
    client = connect(RedisSettings(url=SecretStr(url), **settings))
    try:
        yield client
    finally:
        await close_client(client)


async def test_a_url_leads_to_a_redis_that_answers_in_text(redis_server: RedisServer) -> None:
    redis_server.wipe()
    async with client_of(redis_server.url) as client:
        await client.set("key", "välue")
        assert await client.get("key") == "välue"
        assert await client.client_getname() == "sfu-gateway"


async def test_the_path_is_the_database(redis_server: RedisServer) -> None:
    redis_server.wipe()
    async with client_of(f"{redis_server.url}/3") as client:
        await client.set("key", "value")
    assert redis_server.call("GET", "key") is None
    assert redis_server.call("INFO", "keyspace")["db3"]["keys"] == 1


async def test_a_password_opens_redis(tmp_path: Path) -> None:
    with RedisServer(any_binary(), tmp_path, config=["requirepass p@ss"]) as server:
        async with client_of(f"redis://:p%40ss@{server.address}") as client:
            assert await client.set("key", "value")
        async with client_of(f"redis://:wrong@{server.address}") as client:
            with pytest.raises(AuthenticationError):
                await client.get("key")


async def test_rediss_is_tls() -> None:
    async with client_of("rediss://redis?ssl_ca_certs=/ca.pem") as client:
        assert isinstance(client, Redis)
        assert client.connection_pool.connection_class is SSLConnection
        assert client.connection_pool.connection_kwargs["ssl_ca_certs"] == "/ca.pem"


async def test_sentinels_lead_to_the_primary(tmp_path: Path) -> None:
    with sentinel_set("redis", tmp_path) as group:
        async with client_of(f"{group.url}?db=2") as client:
            await client.set("key", "value")
        assert group.primary().call("INFO", "keyspace")["db2"]["keys"] == 1


async def test_a_cluster_is_used_as_one(tmp_path: Path) -> None:
    with cluster("redis", tmp_path) as group:
        async with client_of(group.url) as client:
            for number in range(20):
                await client.set(f"{{fleet-{number}}}:key", "value")
        servers = {group.primary_of(f"{{fleet-{number}}}:key") for number in range(20)}
        assert len(servers) == 3
        assert group.primary_of("{fleet-0}:key").call("GET", "{fleet-0}:key") == "value"


@pytest.mark.parametrize("topology", [sentinel_set, cluster], ids=["sentinel", "cluster"])
async def test_more_calls_at_once_than_connections_wait_for_one(
    topology: Callable[..., AbstractContextManager[Any]], tmp_path: Path
) -> None:
    text = "return ARGV[1]"
    echo = Script("echo", text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
    with topology("redis", tmp_path) as group:
        async with client_of(group.url, max_connections=10) as client:
            runner = ScriptRunner(client, "{sfu}:", 5.0)
            replies = await asyncio.gather(*(runner.run(echo, number) for number in range(100)))
    assert replies == [str(number) for number in range(100)]


async def test_a_cluster_of_which_nothing_is_left_is_unavailable() -> None:
    async with client_of(f"redis+cluster://{HOST}:{free_port()}") as client:
        with pytest.raises(RegistryUnavailable, match=r"does not answer: .*\(echo\)"):
            await ScriptRunner(client, "{sfu}:", 1.0).run(Script("echo", "return 1", "0" * 40))


# Bad connections


async def test_a_call_that_hangs_fails_in_time_and_is_not_sent_again(redis_server: RedisServer) -> None:
    redis_server.wipe()
    async with FaultProxy(redis_server.port) as proxy:
        async with client_of(f"redis://{HOST}:{proxy.port}", timeout_ms=100) as client:
            await client.ping()
            proxy.faults = Faults(drop_replies=1)
            started = time.monotonic()
            with pytest.raises(RedisTimeoutError):
                await client.incr("calls")
            assert time.monotonic() - started < 1
        assert redis_server.call("GET", "calls") == "1"


async def test_a_connection_that_died_while_idle_is_made_again(redis_server: RedisServer) -> None:
    async with FaultProxy(redis_server.port) as proxy:
        async with client_of(f"redis://{HOST}:{proxy.port}") as client:
            await client.ping()
            proxy.reset_connections()
            assert await client.ping()
        assert proxy.accepted == 2


async def test_a_redis_that_is_not_there_fails_at_once() -> None:
    async with client_of(f"redis://{HOST}:{free_port()}") as client:
        started = time.monotonic()
        with pytest.raises(RedisError):
            await client.ping()
        assert time.monotonic() - started < 1


async def test_more_calls_than_connections_wait_for_each_other(redis_server: RedisServer) -> None:
    redis_server.wipe()
    async with client_of(redis_server.url, max_connections=2, timeout_ms=5000) as client:
        assert sorted(await asyncio.gather(*(client.incr("calls") for _ in range(50)))) == [*range(1, 51)]
        assert int((await client.info("clients"))["connected_clients"]) <= 3  # one is the test's own


async def test_a_client_can_be_closed_whatever_became_of_its_redis(own_server: RedisServer) -> None:
    client = connect(RedisSettings(url=SecretStr(own_server.url)))
    await client.ping()
    own_server.kill()
    await close_client(client)


# Without a URL


async def test_without_a_url_redis_is_in_this_process() -> None:
    one, other = connect(RedisSettings()), connect(RedisSettings())
    await one.set("key", "value")
    assert await one.get("key") == "value"
    assert await other.get("key") is None


async def test_embedded_clients_can_share_a_redis() -> None:
    server = FakeServer()
    one, other = embedded_client(server), embedded_client(server)
    await one.set("key", "value")
    assert await other.get("key") == "value"
