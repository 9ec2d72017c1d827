"""Redis and Valkey servers of a benchmark's own."""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from app.registry.policy import Policy
from app.registry.shipped_scripts import shipped_scripts
from tests.bench.script_calls import POLICY
from tests.bench.wire import send_all
from tests.support.engines import EngineMissing, RedisServer, ServerName, find_binary


@contextmanager
def running_server(name: ServerName, policy: Policy = POLICY) -> Iterator[RedisServer]:
    """Run a fresh server without persistence until the block ends, with the scripts as `policy` has them.

    Raises:
        EngineMissing: this machine has no such server.
    """
    binary = find_binary(name)
    with tempfile.TemporaryDirectory() as directory, RedisServer(binary, Path(directory)) as server:
        for script in shipped_scripts(policy):
            server.call("SCRIPT", "LOAD", script.text)
        yield server


def installed_servers() -> dict[ServerName, str]:
    """Return the servers this machine has, with their versions."""
    found: dict[ServerName, str] = {}
    names: tuple[ServerName, ...] = ("redis", "valkey")
    for name in names:
        try:
            find_binary(name)
        except EngineMissing:
            continue
        with running_server(name) as server:
            found[name] = _version(server)
    return found


def info(server: RedisServer, section: str) -> dict[str, Any]:
    """Return one section of INFO as redis-py reads it."""
    return cast("dict[str, Any]", server.call("INFO", section))


def _version(server: RedisServer) -> str:
    facts = info(server, "server")
    if "valkey_version" in facts:
        return f"Valkey {facts['valkey_version']}"
    return f"Redis {facts['redis_version']}"


def calls_per_cpu_s(server: RedisServer, shares: Sequence[Sequence[bytes]], marker: bytes) -> float:
    """Return calls per second of CPU time over as many connections as there are shares.

    Threads do: between system calls a client only copies bytes and counts markers.
    """
    with ThreadPoolExecutor(len(shares)) as threads:
        before = _cpu_seconds(server)
        list(threads.map(lambda share: send_all(server.port, share, marker), shares))
        took = _cpu_seconds(server) - before
    return sum(map(len, shares)) / took


def _cpu_seconds(server: RedisServer) -> float:
    figures = info(server, "cpu")
    return float(figures["used_cpu_user"]) + float(figures["used_cpu_sys"])
