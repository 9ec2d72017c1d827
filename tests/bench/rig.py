"""The processes of a benchmark around one Redis: replicas, SFUs that only answer, HAProxy."""

import asyncio
import contextlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from app.crypto.tokens import Key
from app.registry.client import close_client, connect
from app.registry.registry import Registry
from app.registry.sfus import SfuReport
from app.settings.model import HealthSettings, RedisSettings, RegistrationSettings, Settings
from tests.bench.servers import running_server
from tests.bench.sfu_stand_in import address_of
from tests.journeys.deployment import GATEWAY_KEY, REGISTRATION_KEY
from tests.support.engines import RedisServer
from tests.support.ports import HOST, free_port
from tests.support.processes import Process, answers, prints

SFU_KEY: Final = "a2V5IG9mIG9uZSBTRlUsIG5vdCBvZiBhbnkgb3RoZXI="
MAX_SESSIONS: Final = 1_000_000_000
"""So many that no run fills an SFU: nothing is measured but the work of placing."""

ROOT: Final = Path(__file__).resolve().parents[2]
GATEWAY: Final = ("-m", "app", "serve")

_THRESHOLD_S: Final = 86_400
_HEARTBEATS_PER_S: Final = 1_000_000
_AT_ONCE: Final = 50


@dataclass(frozen=True, slots=True)
class Target:
    """A process that answers at a URL."""

    pid: int
    url: str
    is_gateway: bool = False


class Rig:
    """Starts processes around `redis`; `rig_around_redis` stops them in the end."""

    def __init__(self, redis: RedisServer, directory: Path, stack: contextlib.ExitStack) -> None:
        self.redis = redis
        self.directory = directory
        self._stack = stack
        self._started = 0

    def replica(self, namespace: str = "sfu", *, tree: Path = ROOT, **settings: str) -> Target:
        """Start the gateway of a source `tree`; further `settings` as `redis__timeout_ms="2000"`."""
        port = free_port()
        environment = {
            "SFU_GATEWAY_KEY": GATEWAY_KEY,
            "SFU_GATEWAY_REGISTRATION__KEY": REGISTRATION_KEY,
            "SFU_GATEWAY_REGISTRATION__MAX_PER_SECOND": str(_HEARTBEATS_PER_S),
            "SFU_GATEWAY_REGISTRATION__BURST": str(_HEARTBEATS_PER_S),
            "SFU_GATEWAY_HEALTH__UNHEALTHY_THRESHOLD": str(_THRESHOLD_S),
            "SFU_GATEWAY_REDIS__URL": self.redis.url,
            "SFU_GATEWAY_REDIS__NAMESPACE": namespace,
            "SFU_GATEWAY_BIND": HOST,
            "SFU_GATEWAY_PORT": str(port),
            "PYTHONPATH": str(tree),
        } | {f"SFU_GATEWAY_{name.upper()}": value for name, value in settings.items()}
        url = f"http://{HOST}:{port}"
        process = Process(
            [sys.executable, *GATEWAY],
            log=self._log("replica"),
            env=environment,
            cwd=tree,
            ready=answers(f"{url}/readyz"),
            ready_seconds=30,
        )
        return Target(self._stack.enter_context(process).pid, url, is_gateway=True)

    def start_s(self, *, tree: Path = ROOT) -> float:
        """Return the seconds from a replica's start until it says that it is ready; it is ended then."""
        with contextlib.ExitStack() as stack:
            rig = Rig(self.redis, self.directory / f"start-{time.monotonic_ns()}", stack)
            rig.directory.mkdir()
            began = time.monotonic()
            rig.replica(tree=tree)
            return time.monotonic() - began

    def stand_in(self, delay_ms: float = 0) -> int:
        """Start SFUs that only answer; return the port they all have."""
        port = free_port()
        process = Process(
            [sys.executable, "-m", "tests.bench.sfu_stand_in", str(port), str(delay_ms)],
            log=self._log("sfus"),
            ready=prints("answering"),
        )
        self._stack.enter_context(process)
        return port

    def run(self, process: Process) -> None:
        """Run a process until the end of the rig."""
        self._stack.enter_context(process)

    def haproxy(self, addresses: Sequence[str]) -> Target | None:
        """Start HAProxy in front of SFUs, on one thread; `None` where it is not installed."""
        binary = haproxy_binary()
        if binary is None:
            return None
        port = free_port()
        config = self.directory / f"haproxy-{port}.cfg"
        config.write_text(haproxy_config(port, addresses), encoding="utf-8")
        process = Process(
            [binary, "-db", "-f", config],
            log=self._log("haproxy"),
            ready=answers(f"http://{HOST}:{port}/v1/noop"),
        )
        return Target(self._stack.enter_context(process).pid, f"http://{HOST}:{port}")

    def register(self, namespace: str, addresses: Sequence[str], sessions: Sequence[int] = ()) -> None:
        """Register SFUs for as long as the benchmark takes.

        An SFU with 0 `sessions` (the default) takes any number of channels and always looks empty; one with more
        has room for twice as many, so that it looks half full.
        """
        reports = [
            SfuReport(
                address=address,
                region="eu-west",
                key=Key.from_base64(SFU_KEY),
                sessions=busy,
                max_sessions=2 * busy or MAX_SESSIONS,
            )
            for address, busy in zip(addresses, sessions or [0] * len(addresses), strict=True)
        ]
        asyncio.run(_register(self._settings(namespace), reports))

    def _settings(self, namespace: str) -> Settings:
        return Settings(
            key=(Key.from_base64(GATEWAY_KEY),),
            redis=RedisSettings(url=SecretStr(self.redis.url), namespace=namespace, timeout_ms=5_000),
            health=HealthSettings(unhealthy_threshold=_THRESHOLD_S),
            registration=RegistrationSettings(max_per_second=_HEARTBEATS_PER_S, burst=_HEARTBEATS_PER_S),
        )

    def _log(self, name: str) -> Path:
        self._started += 1
        return self.directory / f"{self._started:02}-{name}.log"


async def _register(settings: Settings, reports: Sequence[SfuReport]) -> None:
    client = connect(settings.redis)
    try:
        registry = Registry.from_settings(client, settings)
        for start in range(0, len(reports), _AT_ONCE):
            await asyncio.gather(*map(registry.registrations.heartbeat, reports[start : start + _AT_ONCE]))
    finally:
        await close_client(client)


@contextmanager
def rig_around_redis(directory: Path) -> Iterator[Rig]:
    """Run a fresh Redis, and end all that the rig starts around it."""
    with running_server("redis") as server, contextlib.ExitStack() as stack:
        home = directory / f"rig-{server.port}"
        home.mkdir()
        yield Rig(server, home, stack)


def sfus(count: int, port: int) -> list[str]:
    """Return the addresses of so many SFUs behind one listener."""
    return [address_of(number, port) for number in range(count)]


def haproxy_binary() -> str | None:
    """Return where HAProxy is; Debian puts it where not everybody looks."""
    return shutil.which("haproxy") or shutil.which("/usr/sbin/haproxy")


def haproxy_version() -> str:
    """Return its version, empty where it is not installed."""
    binary = haproxy_binary()
    if binary is None:
        return ""
    said = subprocess.run([binary, "-v"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"version (\d+\.\d+\.\d+)", said)
    return found[1] if found else ""


def haproxy_config(port: int, addresses: Sequence[str]) -> str:
    """Return HAProxy's configuration: one thread, least connections, connections kept and shared."""
    servers = [
        f"    server sfu{number} {address.removeprefix('http://')}"
        for number, address in enumerate(addresses)
    ]
    lines = [
        "global",
        "    nbthread 1",
        "    maxconn 8192",
        "defaults",
        "    mode http",
        "    timeout connect 2s",
        "    timeout client 30s",
        "    timeout server 5s",
        "    http-reuse always",
        "frontend channels",
        f"    bind {HOST}:{port}",
        "    default_backend sfus",
        "backend sfus",
        "    balance leastconn",
        *servers,
    ]
    return "\n".join(lines) + "\n"
