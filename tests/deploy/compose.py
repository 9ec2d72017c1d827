"""docker-compose.yml outside containers: the same commands, with the same environment, on this machine.

Every `service:port` that the file names becomes a free port of 127.0.0.1; nothing else is changed.
"""

import functools
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Final

import yaml

from tests.deploy.repository import ROOT, SCRIPTS, exec_form
from tests.support.engines import required_binary
from tests.support.ports import HOST, free_port
from tests.support.processes import Process, Readiness, prints
from tests.support.tools import miss

COMPOSE_FILE: Final = ROOT / "docker-compose.yml"

_VARIABLE: Final = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[?-])(?P<word>[^}]*))?\}")
_START_SECONDS: Final = 30


def read_compose(environment: Mapping[str, str], file: Path = COMPOSE_FILE) -> dict[str, Any]:
    """Return a compose file with its variables filled in from `environment`.

    Raises:
        ValueError: a required variable is missing.
    """

    def fill(node: Any) -> Any:
        if isinstance(node, dict):
            return {name: fill(value) for name, value in node.items()}
        if isinstance(node, list):
            return [fill(value) for value in node]
        return _VARIABLE.sub(value_of, node) if isinstance(node, str) else node

    def value_of(match: re.Match[str]) -> str:
        if value := environment.get(match["name"]):
            return value
        if match["kind"] == "-":
            return match["word"]
        raise ValueError(f"{match['name']}: {match['word']}")

    document: dict[str, Any] = fill(yaml.safe_load(file.read_text(encoding="utf-8")))
    return document


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables of an `.env` file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def start_order(services: Mapping[str, Any]) -> list[str]:
    """Return the services so that each comes after those it waits for."""
    waits = {name: set(service.get("depends_on", {})) for name, service in services.items()}
    return list(TopologicalSorter(waits).static_order())


def running(services: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the services that `docker compose up` starts: those without a profile, and those of the chosen ones."""
    chosen = set(environment.get("COMPOSE_PROFILES", "").split(","))
    return {
        name: service
        for name, service in services.items()
        if "profiles" not in service or chosen & set(service["profiles"])
    }


class LocalStack:
    """What the compose file starts, as processes of this machine."""

    def __init__(self, environment: Mapping[str, str], directory: Path) -> None:
        self.services = running(read_compose(environment)["services"], environment)
        self._directory = directory
        self._processes: dict[str, Process] = {}
        self._resources = ExitStack()

    def __enter__(self) -> "LocalStack":
        """Start everything in order, each when those it waits for are healthy."""
        with ExitStack() as started:
            for name in start_order(self.services):
                self._processes[name] = started.enter_context(self._process(name))
            self._resources = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything in reverse order."""
        self._resources.close()

    def __getitem__(self, service: str) -> Process:
        return self._processes[service]

    def url(self, service: str, port: int = 8071) -> str:
        """Return where a service's port is on this machine."""
        return f"http://{self.local(f'{service}:{port}')}"

    def run(self, service: str, *words: str) -> str:
        """Return what a command prints in a service's environment: `docker compose exec`."""
        argv = [_program(words[0]), *words[1:]]
        environment = self._environment(service)
        return subprocess.run(
            argv, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    def local(self, text: str) -> str:
        """Return `text` with every `service:port` replaced by its place on this machine."""
        names = "|".join(map(re.escape, self.services))
        return re.sub(rf"\b({names}):(\d+)\b", lambda match: f"{HOST}:{self._port(*match.groups())}", text)

    @functools.cache  # noqa: B019 - a stack lives as long as its tests
    def _port(self, service: str, port: str) -> int:
        return free_port()

    def _environment(self, name: str) -> dict[str, str]:
        environment = self.services[name].get("environment", {})
        local = {variable: self.local(value) for variable, value in environment.items()}
        if name.startswith("gateway"):
            local |= {"SFU_GATEWAY_BIND": HOST, "SFU_GATEWAY_PORT": str(self._port(name, "8071"))}
            local |= {"SFU_GATEWAY_OPS__BIND": HOST, "SFU_GATEWAY_OPS__PORT": str(self._port(name, "8073"))}
        return local

    def _process(self, name: str) -> Process:
        return Process(
            [_program(word) if place == 0 else word for place, word in enumerate(self._argv(name))],
            log=self._directory / f"{name}.log",
            env=self._environment(name),
            ready=self._readiness(name),
            ready_seconds=_START_SECONDS,
        )

    def _argv(self, name: str) -> list[str]:
        service = self.services[name]
        if service["image"].startswith("haproxy:"):
            return ["haproxy", "-db", "-f", str(self._haproxy_config(service))]
        if service["image"].startswith("redis:"):
            data = self._directory / name
            data.mkdir()
            own = ["--port", str(self._port(name, "6379")), "--bind", HOST, "--dir", str(data)]
            return [*service["command"], *own]
        words = [*service.get("entrypoint", exec_form("ENTRYPOINT")), *service["command"]]
        return list(self._as_listener(name, map(self.local, words)))

    def _as_listener(self, name: str, words: Iterator[str]) -> Iterator[str]:
        """Let a simulated SFU listen where `local` says that it is."""
        for word in words:
            yield word
            if word == "--host":
                next(words)
                yield HOST
            elif word == "--base-port":
                yield str(self._port(name, next(words)))

    def _haproxy_config(self, service: Mapping[str, Any]) -> Path:
        source, *_ = service["volumes"][0].split(":")
        text = self.local((ROOT / source).read_text(encoding="utf-8"))
        for port in ("8071", "8073"):
            text = text.replace(f"bind :{port}", f"bind {self.local(f'proxy:{port}')}")
        config = self._directory / "haproxy.cfg"
        config.write_text(text, encoding="utf-8")
        return config

    def _readiness(self, name: str) -> Readiness:
        """Ready when the service's own health check says so; a sweeper has none."""
        check = self.services[name]["healthcheck"]
        if check.get("disable"):
            return prints("sweeping")
        kind, *words = check["test"]
        words = [self.local(word) for word in words]
        argv = ["sh", "-c", *words] if kind == "CMD-SHELL" else [_program(words[0]), *words[1:]]
        environment = self._environment(name) | {"PATH": _path()}

        def is_healthy(_: Process) -> bool:
            return subprocess.run(argv, env=environment, capture_output=True, check=False).returncode == 0

        return is_healthy


def _path() -> str:
    redis = required_binary("redis").parent
    return f"{SCRIPTS}:{redis}:/usr/local/bin:/usr/bin:/bin:/usr/sbin"


def _program(name: str) -> str:
    """Return this machine's counterpart of a program in a container; without one, skip or fail the test."""
    if name == "python":
        return sys.executable
    found = shutil.which(name, path=_path())
    if found is None:
        miss(f"{name} is not on PATH (Debian, Ubuntu: apt-get install {name})")
    return found
