"""Redis with failover: a Sentinel set and a Cluster, of real processes that a test may kill or pause.

Either engine will do. The functions wait until the whole group is ready to fail over, and end every process.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tests.support.engines import RedisServer, ServerName, required_binary
from tests.support.ports import CLUSTER_BUS_OFFSET, HOST
from tests.support.waiting import eventually_sync

SERVICE: Final = "main"
"""The name under which the Sentinels know their primary."""

_FAILOVER_TIMEOUT_MS: Final = 3000
"""A vote of the Sentinels that nobody wins is repeated after twice this; by default that is six minutes."""

_PATIENT_MS: Final = 30_000

_SLOTS: Final = 16_384
_PRIMARIES: Final = 3
_FORMING_SECONDS: Final = 30

_REPLICATION: Final = ("repl-diskless-sync-delay 0", "repl-ping-replica-period 1")
"""By default a primary waits 5 s for further replicas before it serves the first, and a Redis 7 cluster lists
a replica only after the first ping from its idle primary, which takes 10 s."""


@dataclass(frozen=True, slots=True)
class SentinelSet:
    """Two servers, one of them primary, and the three Sentinels that watch over them."""

    servers: tuple[RedisServer, ...]
    sentinels: tuple[RedisServer, ...]

    @property
    def url(self) -> str:
        """The gateway's `redis+sentinel://` URL."""
        return f"redis+sentinel://{_addresses(self.sentinels)}/{SERVICE}"

    def primary(self) -> RedisServer:
        """Return the server that the first running Sentinel takes for the primary now."""
        sentinel = _first_running(self.sentinels)
        _, port = sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return _with_port(self.servers, int(port))

    def move_primary_to(self, port: int) -> str:
        """Have the Sentinels name `port`, where a proxy stands before the primary; return the URL.

        They are made patient, so that what gets lost on the way to the primary is no failover.
        """
        for sentinel in self.sentinels:
            sentinel.call("SENTINEL", "REMOVE", SERVICE)
            sentinel.call("SENTINEL", "MONITOR", SERVICE, HOST, port, 2)
            sentinel.call("SENTINEL", "SET", SERVICE, "down-after-milliseconds", _PATIENT_MS)
        return self.url


@dataclass(frozen=True, slots=True)
class Cluster:
    """Three primaries and three replicas."""

    servers: tuple[RedisServer, ...]

    @property
    def url(self) -> str:
        """The gateway's `redis+cluster://` URL."""
        return f"redis+cluster://{_addresses(self.servers)}"

    def primary_of(self, key: str, *, seen_by: RedisServer | None = None) -> RedisServer:
        """Return the server that holds `key`, as `seen_by` (default: the first running server) knows it."""
        witness = seen_by or _first_running(self.servers)
        slot = witness.call("CLUSTER", "KEYSLOT", key)
        for first, last, primary, *_ in witness.call("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return _with_port(self.servers, primary[1])
        raise LookupError(f"no primary holds slot {slot}")

    def move_to(self, server: RedisServer, port: int) -> str:
        """Have all nodes name `port`, where a proxy stands, for `server`; return the URL, by the others."""
        server.call("CONFIG", "SET", "cluster-announce-bus-port", server.port + CLUSTER_BUS_OFFSET)
        server.call("CONFIG", "SET", "cluster-announce-port", port)
        others = [node for node in self.servers if node is not server]
        _await_all(self.servers, lambda node: f"{HOST}:{port}@" in node.call("CLUSTER", "NODES"))
        return f"redis+cluster://{_addresses(others)}"


@contextmanager
def sentinel_set(name: ServerName, directory: Path, *, down_after_ms: int = 1000) -> Iterator[SentinelSet]:
    """Run a primary, a replica and three Sentinels, ready to fail over; takes 2 to 4 s.

    Args:
        name: the engine; missing, the test is skipped or fails.
        directory: for the files of all processes.
        down_after_ms: silence after which a Sentinel holds a server for down; failover takes 1.3 s more.
    """
    binary = required_binary(name)
    with ExitStack() as running:

        def start(*config: str, sentinel: bool = False) -> RedisServer:
            return running.enter_context(RedisServer(binary, directory, config=config, sentinel=sentinel))

        primary = start(*_REPLICATION)
        replica = start(*_REPLICATION, f"replicaof {HOST} {primary.port}")
        # First the replica: Sentinels look for replicas only every ten seconds.
        _await_all([replica], _is_in_sync)
        watch = (
            f"sentinel monitor {SERVICE} {HOST} {primary.port} 2",
            f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}",
            f"sentinel failover-timeout {SERVICE} {_FAILOVER_TIMEOUT_MS}",
        )
        sentinels = tuple(start(*watch, sentinel=True) for _ in range(3))
        _await_all(sentinels, _sees_the_whole_set)
        yield SentinelSet((primary, replica), sentinels)


@contextmanager
def cluster(name: ServerName, directory: Path, *, node_timeout_ms: int = 2000) -> Iterator[Cluster]:
    """Run a cluster of three primaries with a replica each, once all nodes agree on it; takes 2 to 4 s.

    Args:
        name: the engine; missing, the test is skipped or fails.
        directory: for the files of all processes.
        node_timeout_ms: silence after which a node is held for down; failover takes 1 to 2 s more.
    """
    binary = required_binary(name)
    config = ("cluster-enabled yes", f"cluster-node-timeout {node_timeout_ms}", *_REPLICATION)
    with ExitStack() as running:
        servers = tuple(
            running.enter_context(RedisServer(binary, directory, config=config))
            for _ in range(2 * _PRIMARIES)
        )
        _form_cluster(servers[:_PRIMARIES], servers[_PRIMARIES:])
        yield Cluster(servers)


def _form_cluster(primaries: Sequence[RedisServer], replicas: Sequence[RedisServer]) -> None:
    """Join fresh nodes, by commands: the package that brings Valkey has no `redis-cli`."""
    servers = (*primaries, *replicas)
    for epoch, server in enumerate(servers, start=1):
        server.call("CLUSTER", "SET-CONFIG-EPOCH", epoch)
    for index, primary in enumerate(primaries):
        slots = range(_SLOTS * index // _PRIMARIES, _SLOTS * (index + 1) // _PRIMARIES)
        primary.call("CLUSTER", "ADDSLOTS", *slots)
    for server in servers[1:]:
        server.call("CLUSTER", "MEET", HOST, servers[0].port)
    _await_all(servers, _knows_every_node)
    for primary, replica in zip(primaries, replicas, strict=True):
        replica.call("CLUSTER", "REPLICATE", primary.call("CLUSTER", "MYID"))
    _await_all(servers, _sees_the_whole_cluster)
    _await_all(replicas, _is_in_sync)


def _await_all(servers: Sequence[RedisServer], claim: Callable[[RedisServer], bool]) -> None:
    """Wait until the `claim` is true of every one of the `servers`."""
    for server in servers:
        eventually_sync(partial(claim, server), timeout_seconds=_FORMING_SECONDS)


def _is_in_sync(replica: RedisServer) -> bool:
    return bool(replica.call("INFO", "replication").get("master_link_status") == "up")


def _sees_the_whole_set(sentinel: RedisServer) -> bool:
    fields = sentinel.call("SENTINEL", "MASTER", SERVICE)
    primary = dict(zip(fields[::2], fields[1::2], strict=True))
    return (primary["flags"], primary["num-slaves"], primary["num-other-sentinels"]) == ("master", "1", "2")


def _knows_every_node(server: RedisServer) -> bool:
    return f"cluster_known_nodes:{2 * _PRIMARIES}\r\n" in server.call("CLUSTER", "INFO")


def _sees_the_whole_cluster(server: RedisServer) -> bool:
    # Each entry of the map: first slot, last slot, primary, replica.
    is_complete = [len(entry) for entry in server.call("CLUSTER", "SLOTS")] == [4] * _PRIMARIES
    return is_complete and "cluster_state:ok" in server.call("CLUSTER", "INFO")


def _addresses(servers: Sequence[RedisServer]) -> str:
    return ",".join(server.address for server in servers)


def _first_running(servers: Sequence[RedisServer]) -> RedisServer:
    return next(server for server in servers if server.is_running)


def _with_port(servers: Sequence[RedisServer], port: int) -> RedisServer:
    return next(server for server in servers if server.port == port)
