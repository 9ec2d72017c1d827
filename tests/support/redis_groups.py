"""What a deployment keeps its data in, whatever that is made of: one server, a Sentinel set, a Cluster.

A chaos row breaks it without knowing which. All data of a deployment lies in one slot, so there is always one
server, the primary, that has all of it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.engines import ChaosEngine, RedisServer, ServerName, required_binary
from tests.support.ports import HOST
from tests.support.topologies import cluster, sentinel_set

_A_KEY: Final = "{sfu}:load"


@dataclass(frozen=True, slots=True)
class RedisGroup:
    """One server or a group of them."""

    url: str
    """What the gateway is given."""

    processes: tuple[RedisServer, ...]
    """All servers, each after those it needs to start well."""

    primary: Callable[[], RedisServer]
    """Returns the server that has the data now."""

    move_to: Callable[[int], str]
    """Has clients find the primary behind another port, a proxy's, and returns the URL for that. Not to be
    followed by `primary`."""

    def call(self, *words: str | int) -> Any:
        """Return the primary's reply to one command (see `RedisServer.call`)."""
        return self.primary().call(*words)

    def kill(self) -> None:
        """End all servers at once."""
        for server in reversed(self.processes):
            server.kill()

    def start(self) -> None:
        """Start all servers again; they have forgotten all data, but know their group."""
        for server in self.processes:
            server.start()

    def pause(self) -> None:
        """Stop all servers: connections stay open, nothing is answered."""
        for server in reversed(self.processes):
            server.pause()

    def resume(self) -> None:
        """Let all servers go on."""
        for server in self.processes:
            server.resume()


def server_name(engine: ChaosEngine) -> ServerName:
    """Return the kind of server that an engine of the chaos rows is made of."""
    return "valkey" if engine == "valkey" else "redis"


@contextmanager
def redis_group_of(engine: ChaosEngine, directory: Path) -> Iterator[RedisGroup]:
    """Run what `engine` says for the block; its files go below `directory`."""
    if engine == "sentinel":
        with sentinel_set("redis", directory) as group:
            processes = (*group.servers, *group.sentinels)
            yield RedisGroup(group.url, processes, group.primary, group.move_primary_to)
    elif engine == "cluster":
        with cluster("redis", directory) as nodes:

            def primary() -> RedisServer:
                return nodes.primary_of(_A_KEY)

            yield RedisGroup(nodes.url, nodes.servers, primary, lambda port: nodes.move_to(primary(), port))
    else:
        with RedisServer(required_binary(server_name(engine)), directory) as server:
            yield single(server)


def single(server: RedisServer) -> RedisGroup:
    """Return one server as a group."""
    return RedisGroup(server.url, (server,), lambda: server, lambda port: f"redis://{HOST}:{port}")
