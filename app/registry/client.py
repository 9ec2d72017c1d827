"""Clients of Redis from a URL: standalone, Sentinel or Cluster, plain or TLS; without one the embedded Redis.

One place decides how long a call may take and how often it is tried. Scripts carry request ids, so a call
on a connection that turned out to be dead is sent once more; one that timed out is not, it may still run.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from redis.asyncio import BlockingConnectionPool, Redis, Sentinel, SSLConnection
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from app.registry.scripts import RedisClient
from app.settings.model import RedisSettings
from app.settings.redis_url import RedisUrlParts, parse_redis_url

if TYPE_CHECKING:
    from fakeredis import FakeServer


def connect(settings: RedisSettings) -> RedisClient:
    """Return a client for `redis.url`, not connected yet. The caller closes it with `close_client`."""
    if settings.url is None:
        return embedded_client()
    url = parse_redis_url(settings.url.get_secret_value())
    timeout = settings.timeout_ms / 1000
    common: dict[str, Any] = {
        "decode_responses": True,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "client_name": "sfu-gateway",
    }
    if url.kind == "cluster":
        return _cluster(url, common, settings.max_connections)
    common["retry"] = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
    if url.kind == "sentinel":
        return _sentinel(url, common, settings.max_connections)
    if url.is_tls:
        common["connection_class"] = SSLConnection
    host, port = url.hosts[0]
    return Redis.from_pool(
        BlockingConnectionPool(
            settings.max_connections, timeout, host=host, port=port, **common, **url.options
        )
    )


def _sentinel(url: RedisUrlParts, common: dict[str, Any], max_connections: int) -> Redis:
    options = dict(url.options)
    to_sentinels = {name: common[name] for name in ("socket_timeout", "socket_connect_timeout")}
    to_sentinels["retry"] = Retry(NoBackoff(), 0)  # the next Sentinel is the retry
    for name in ("username", "password"):
        if f"sentinel_{name}" in options:
            to_sentinels[name] = options.pop(f"sentinel_{name}")
    if url.is_tls:
        tls = {"ssl": True} | {name: value for name, value in options.items() if name.startswith("ssl_")}
        to_sentinels |= tls
        options |= tls
    manager = Sentinel(url.hosts, sentinel_kwargs=to_sentinels)  # type: ignore[no-untyped-call]
    client: Redis = manager.master_for(url.service, max_connections=max_connections, **common, **options)
    return client


def _cluster(url: RedisUrlParts, common: dict[str, Any], max_connections: int) -> RedisCluster:
    return RedisCluster(
        startup_nodes=[ClusterNode(host, port) for host, port in url.hosts],
        retry=Retry(NoBackoff(), 1),
        max_connections=max_connections,
        reinitialize_steps=0,  # by default some moved calls close the connections that others are using
        ssl=url.is_tls,
        **common,
        **url.options,
    )


def embedded_client(server: "FakeServer | None" = None) -> RedisClient:
    """Return a client of a Redis inside this process; give the same `server` to share one."""
    from fakeredis import FakeAsyncRedis, FakeServer  # 16 MB that a replica with a Redis does not need

    return FakeAsyncRedis(server=server or FakeServer(), decode_responses=True)


async def drop_connections(client: RedisClient) -> None:
    """Close the connections in a client's pool that are not in use."""
    if isinstance(client, Redis):
        with suppress(RedisError, OSError):
            await client.connection_pool.disconnect(inuse_connections=False)


async def close_client(client: RedisClient) -> None:
    """Close a client, whatever state its connections are in."""
    clients = [client]
    pool = getattr(client, "connection_pool", None)
    if isinstance(pool, SentinelConnectionPool):  # has connections to the Sentinels, and leaves them open
        clients += pool.sentinel_manager.sentinels
    for each in clients:
        with suppress(RedisError, OSError):
            await each.aclose()
