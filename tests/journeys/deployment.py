"""A whole deployment of real processes: Redis, replicas, sweepers, simulated SFUs."""

import contextlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from app.crypto.tokens import Key
from tests.support.engines import RedisServer
from tests.support.forking import ModuleProcess
from tests.support.plain_http import NO_CERTIFICATES
from tests.support.ports import HOST, free_port
from tests.support.processes import Process, answers, prints

GATEWAY_KEY = "Z2F0ZXdheSBrZXkgb2YgdGhlIHRlc3RzLCAzMiBieXRlcw=="
REGISTRATION_KEY = "cmVnaXN0cmF0aW9uIGtleSBvZiB0aGUgdGVzdHMsIDMyIGI="
ADMIN_TOKEN = "admin-token-of-the-tests"

_PATIENCE_S = 20
"""For an answer to the test itself, on a machine that runs other tests too."""

_READY_S = 60
"""For a process to start there: what is not forked takes a second of CPU time for its imports alone."""


def channel_token(issuer: str = "https://odoo.example:channel:1", **claims: Any) -> str:
    """Return a token as Odoo makes it, good for 30 s."""
    return Key.from_base64(GATEWAY_KEY).sign({"iss": issuer, "exp": int(time.time()) + 30, **claims})


@dataclass(slots=True)
class Replica:
    """A running gateway."""

    process: Process
    client: httpx.Client

    @property
    def url(self) -> str:
        """Its base URL."""
        return str(self.client.base_url)

    def ask(
        self, issuer: str = "https://odoo.example:channel:1", path: str = "/v1/channel"
    ) -> httpx.Response:
        """Ask for a channel as Odoo does."""
        return self.client.get(path, headers={"Authorization": f"jwt {channel_token(issuer)}"})

    def health(self) -> dict[str, Any]:
        """Return `/v1/health`."""
        document: dict[str, Any] = self.client.get("/v1/health").json()
        return document

    def selectable(self) -> int:
        """Return how many SFUs may take a channel."""
        return int(self.health()["selectable"])

    def status_of(self, address: str) -> str | None:
        """Return one SFU's status, `None` when it is not listed."""
        return next((sfu["status"] for sfu in self.health()["sfus"] if sfu["address"] == address), None)

    def heartbeat(self, address: str, key: str, **fields: Any) -> httpx.Response:
        """Send a heartbeat as the roadmap's SFU does."""
        payload = {
            "status": "up",
            "address": address,
            "region": "eu-west",
            "key": key,
            "channels": 12,
            "sessions": 45,
            "cpuUsage": 0.35,
            "memoryUsage": 0.48,
        }
        token = Key.from_base64(REGISTRATION_KEY).sign({"exp": int(time.time()) + 60})
        headers = {"Authorization": f"Bearer {token}"}
        return self.client.post("/v1/sfu", json=payload | fields, headers=headers)

    def admin(self, action: str, **document: Any) -> httpx.Response:
        """Post an operator's command."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        return self.client.post(f"/v1/admin/sfus/{action}", json=document, headers=headers)

    def forget_sfus(self) -> None:
        """Have every SFU forgotten."""
        for sfu in self.health()["sfus"]:
            self.admin("forget", address=sfu["address"])


@dataclass(slots=True)
class RunningFleet:
    """Simulated SFUs in a process of their own."""

    process: Process
    sfus: Sequence[dict[str, Any]] = field(default_factory=list)

    @property
    def addresses(self) -> list[str]:
        """Their addresses."""
        return [str(sfu["address"]) for sfu in self.sfus]

    def key_of(self, address: str) -> str:
        """Return one's auth key, base64."""
        return next(str(sfu["key"]) for sfu in self.sfus if sfu["address"] == address)

    def control(self, address: str, what: str, document: object) -> None:
        """Post to one's control route: `fault`, `figures` or `heartbeats`."""
        httpx.post(
            f"{address}/_sim/{what}",
            json=document,
            trust_env=False,
            verify=NO_CERTIFICATES,
            timeout=_PATIENCE_S,
        ).raise_for_status()

    def state(self, address: str) -> dict[str, Any]:
        """Return what one says of itself."""
        document: dict[str, Any] = httpx.get(
            f"{address}/_sim/state", trust_env=False, verify=NO_CERTIFICATES, timeout=_PATIENCE_S
        ).json()
        return document


class Deployment:
    """Starts processes that share one Redis; stops them all, by pid, in the end."""

    def __init__(self, redis: RedisServer | str, directory: Path, **settings: str) -> None:
        self.redis_url = redis if isinstance(redis, str) else redis.url
        self._directory = directory
        self.forks = True
        """As in `ModuleProcess`."""
        self._settings = {f"SFU_GATEWAY_{name.upper()}": value for name, value in settings.items()}
        self._stack = contextlib.ExitStack()
        self._started = 0

    def __enter__(self) -> "Deployment":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _environment(self, **more: str) -> dict[str, str]:
        base = {
            "SFU_GATEWAY_KEY": GATEWAY_KEY,
            "SFU_GATEWAY_REGISTRATION__KEY": REGISTRATION_KEY,
            "SFU_GATEWAY_ADMIN_TOKEN": ADMIN_TOKEN,
            "SFU_GATEWAY_REDIS__URL": self.redis_url,
            "SFU_GATEWAY_BIND": HOST,
        }
        return base | self._settings | more

    def _start(self, process: Process) -> Process:
        return self._stack.enter_context(process)

    def _log(self, name: str) -> Path:
        self._started += 1
        return self._directory / f"{self._started:02}-{name}.log"

    def replica(self, **settings: str) -> Replica:
        """Start a gateway and wait until it is ready."""
        return self.replica_in({}, **settings)

    def replica_in(self, environment: dict[str, str], before: Sequence[str] = (), **settings: str) -> Replica:
        """Start a gateway with more environment variables than its settings, `before` in front of its command."""
        port = free_port()
        more = {f"SFU_GATEWAY_{name.upper()}": value for name, value in settings.items()}
        process = self._start(
            ModuleProcess(
                "app",
                "serve",
                before=before,
                forks=self.forks,
                log=self._log("replica"),
                env=self._environment(SFU_GATEWAY_PORT=str(port), **more) | environment,
                ready=answers(f"http://{HOST}:{port}/readyz"),
                ready_seconds=_READY_S,
            )
        )
        client = httpx.Client(
            base_url=f"http://{HOST}:{port}", trust_env=False, verify=NO_CERTIFICATES, timeout=_PATIENCE_S
        )
        self._stack.callback(client.close)
        return Replica(process, client)

    def sweeper(self) -> Process:
        """Start a sweeper."""
        return self._start(
            ModuleProcess(
                "app",
                "sweep",
                forks=self.forks,
                log=self._log("sweeper"),
                env=self._environment(),
                ready=prints("sweeping"),
                ready_seconds=_READY_S,
            )
        )

    def agent(self, address: str, key: str, gateways: Sequence[Replica]) -> Process:
        """Start an agent beside an SFU that reports to `gateways`."""
        environment = {
            "SFU_GATEWAY_URL": ",".join(replica.url for replica in gateways),
            "SFU_GATEWAY_REGISTRATION__KEY": REGISTRATION_KEY,
            "SFU_ADDRESS": address,
            "AUTH_KEY": key,
            "SFU_AGENT_PORT": "0",
        }
        return self._start(
            ModuleProcess(
                "workers.agent",
                forks=self.forks,
                log=self._log("agent"),
                env=environment,
                ready=prints("takes the heartbeats"),
                ready_seconds=_READY_S,
            )
        )

    def command(self, *words: str) -> Process:
        """Return an operator's command that has not been started."""
        return ModuleProcess("app", *words, log=self._log(words[0]), env=self._environment())

    def fleet(self, sfus: int, gateways: Sequence[Replica], *options: str) -> RunningFleet:
        """Start simulated SFUs that report to `gateways`."""
        urls = [word for replica in gateways for word in ("--gateway", replica.url)]
        process = self._start(
            ModuleProcess(
                "workers.simulator", "--sfus", str(sfus), *urls, "--show-keys", "--people", "0", "--proxy", *options,
                log=self._log("fleet"),
                env={"SFU_GATEWAY_REGISTRATION__KEY": REGISTRATION_KEY, "PATH": os.environ["PATH"]},
                ready=lambda child: child.output.count('"address"') >= sfus,
                ready_seconds=_READY_S,
            )
        )  # fmt: skip
        lines = [json.loads(line) for line in process.output.splitlines() if line.startswith("{")]
        return RunningFleet(process, [line for line in lines if "address" in line])
