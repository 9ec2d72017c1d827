"""Every key is replaced by the steps of docs/key-rotation.md, replica by replica, while channels are asked for."""

import contextlib
import itertools
import os
import re
import textwrap
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.server.uvicorn_server import GRACE_SECONDS
from tests.journeys.deployment import GATEWAY_KEY, REGISTRATION_KEY, Deployment, Replica, RunningFleet
from tests.journeys.odoo import VERSIONS, Odoo, StoredChannel
from tests.support.engines import RedisServer
from tests.support.forking import ModuleProcess
from tests.support.ports import HOST, free_port
from tests.support.processes import Process, answers
from tests.support.waiting import eventually_sync

PAGE = Path(__file__).parents[2] / "docs" / "key-rotation.md"
NEW_KEY = "dGhlIG5leHQga2V5IG9mIHRoZXNlIHRlc3RzLCAzMi4="
SEALING_KEY = "dGhlIGZpcnN0IHNlYWxpbmcga2V5LCAzMiBieXRlcy4="
SFUS = 2
DISCUSSIONS = 10
PAUSE_S = 0.01
"""Between two requests: without one, Odoo takes the CPU from the replicas that start meanwhile."""

THRESHOLD_SECONDS = 9
"""Heartbeats come every 3 s: soon enough for a test, and late enough for an agent's restart."""

INTERVAL_SECONDS = THRESHOLD_SECONDS / 3
NEVER_TOO_BUSY = {f"SFU_GATEWAY_OVERLOAD__MAX_{figure}": "9" for figure in ("LOAD", "CPU", "MEMORY")}
"""The agents report the load of this machine, which other tests make."""

GATEWAY, REGISTRATION, SEALING = (
    f"SFU_GATEWAY_{name}" for name in ("KEY", "REGISTRATION__KEY", "SEALING__KEYS")
)


@dataclass(slots=True)
class Asking:
    """Odoo, which asks for channels all the time: for the same discussions, one replica after the other."""

    odoo: Odoo
    urls: list[str]
    failed: int = 0
    channels: dict[int, set[StoredChannel]] = field(default_factory=lambda: defaultdict(set))
    is_over: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while a request is under way: what it guards does not change under it."""

    def go_on(self) -> None:
        """Ask until it is over."""
        for number in itertools.count():
            with self.lock:
                if self.is_over:
                    return
                self.odoo.url = self.urls[number % len(self.urls)]
                discussion = number // 2 % DISCUSSIONS
                stored = self.odoo.join(discussion)
            if stored is None:
                self.failed += 1
            else:
                self.channels[discussion].add(stored)
            time.sleep(PAUSE_S)

    @contextlib.contextmanager
    def running(self) -> Iterator["Asking"]:
        """Ask in a thread for as long as the block runs."""
        thread = threading.Thread(target=self.go_on)
        thread.start()
        try:
            yield self
        finally:
            with self.lock:
                self.is_over = True
            thread.join()


class Rotation:
    """Two replicas that keep their ports, SFUs with an agent each, and an Odoo that never stops asking."""

    def __init__(self, server: RedisServer, directory: Path, stack: contextlib.ExitStack) -> None:
        self.server = server
        self._directory = directory
        self._stack = stack
        self._deployment = stack.enter_context(Deployment(server, directory))
        self._settings = {GATEWAY: GATEWAY_KEY, REGISTRATION: REGISTRATION_KEY}
        self._replicas: list[Replica] = []
        self._agents: dict[str, Process] = {}
        self._agent_ports: dict[str, int] = {}
        self._ports = [free_port(), free_port()]

    def begin(self, **settings: str) -> Asking:
        """Start all of it, with `settings` from the beginning; return who asks."""
        self._settings |= settings
        self._replicas = [self._replica(number) for number in range(2)]
        fleet = self._deployment.fleet(SFUS, [])
        for address in fleet.addresses:
            self._start_agent(fleet, address)
        self._fleet = fleet
        eventually_sync(lambda: self._replicas[1].selectable() == SFUS, timeout_seconds=60)
        self._asking = Asking(
            Odoo(VERSIONS[-1], "", GATEWAY_KEY), [replica.url for replica in self._replicas]
        )
        self._stack.enter_context(self._asking.running())
        self._everybody_asked()
        return self._asking

    def _replica(self, number: int) -> Replica:
        port = self._ports[number]
        environment = {
            **self._settings,
            "SFU_GATEWAY_BIND": HOST,
            "SFU_GATEWAY_PORT": str(port),
            "SFU_GATEWAY_REDIS__URL": self.server.url,
            "SFU_GATEWAY_HEALTH__UNHEALTHY_THRESHOLD": str(THRESHOLD_SECONDS),
            **NEVER_TOO_BUSY,
        }
        process = self._process(f"replica-{number}", ["serve"], environment, port)
        client = self._stack.enter_context(httpx.Client(base_url=f"http://{HOST}:{port}", trust_env=False))
        return Replica(process, client)

    def _start_agent(self, fleet: RunningFleet, address: str) -> None:
        port = self._agent_ports[address] = free_port()
        environment = {
            "SFU_GATEWAY_URL": ",".join(f"http://{HOST}:{port}" for port in self._ports),
            "SFU_GATEWAY_REGISTRATION__KEY": self._settings[REGISTRATION].split(",")[-1],
            "SFU_ADDRESS": address,
            "SFU_REGION": "eu-west",
            "AUTH_KEY": fleet.key_of(address),
            "SFU_AGENT_BIND": HOST,
            "SFU_AGENT_PORT": str(port),
            "SFU_CGROUP": "none",
        }
        name = f"agent-{list(fleet.addresses).index(address)}"
        self._agents[address] = self._process(name, ["agent"], environment, port)

    def _process(self, name: str, arguments: list[str], environment: Mapping[str, str], port: int) -> Process:
        return self._stack.enter_context(
            ModuleProcess(
                "app",
                *arguments,
                log=self._directory / f"rotation-{name}.log",
                env={"PATH": os.environ["PATH"], **environment},
                ready=answers(f"http://{HOST}:{port}/readyz"),
                ready_seconds=30,
            )
        )

    def replicas_get(self, **settings: str) -> None:
        """Restart one replica after the other with `settings`, each out of the load balancer meanwhile."""
        self._settings |= settings
        for number, replica in enumerate(self._replicas):
            with self._asking.lock:
                self._asking.urls.remove(replica.url)
            assert replica.process.terminate(GRACE_SECONDS) == 0
            self._replicas[number] = self._replica(number)
            with self._asking.lock:
                self._asking.urls.append(replica.url)
            self._everybody_asked()
            self.check_fleet()

    def odoo_gets(self, key: str) -> None:
        """Change Odoo's setting."""
        with self._asking.lock:
            self._asking.odoo.key = key
        self._everybody_asked()

    def agents_get_the_last_registration_key(self) -> None:
        """Replace one agent after the other, and not its SFU: killed, it does not sign off."""
        for address in self._fleet.addresses:
            self._agents[address].kill()
            self._start_agent(self._fleet, address)
            self._everybody_asked()
        self.check_fleet()

    def wait_two_intervals(self) -> None:
        """Return when every SFU has sent a heartbeat since now."""
        before = self._heartbeats()
        eventually_sync(
            lambda: all(now > then for now, then in zip(self._heartbeats(), before, strict=True)),
            timeout_seconds=2 * INTERVAL_SECONDS,
        )

    def _heartbeats(self) -> list[float]:
        """How many each agent has sent."""
        ports = self._agent_ports.values()
        texts = [httpx.get(f"http://{HOST}:{port}/metrics", trust_env=False).text for port in ports]
        return [
            float(line.split()[1])
            for text in texts
            for line in text.splitlines()
            if line.startswith("sfu_agent_heartbeats_total")
        ]

    def _everybody_asked(self) -> None:
        """Return when each discussion was asked for twice more, through every replica there is."""
        asked = len(self._asking.odoo.statuses)
        eventually_sync(
            lambda: len(self._asking.odoo.statuses) >= asked + 2 * DISCUSSIONS, timeout_seconds=60
        )

    def check_fleet(self) -> None:
        """Every SFU is up and trusted, and nothing else was ever said of it."""
        for replica in self._replicas:
            standing = [(sfu["status"], sfu["breaker"]) for sfu in replica.health()["sfus"]]
            assert standing == [("up", "closed")] * SFUS
        events = self.server.call("XRANGE", "{sfu}:events", "-", "+")
        types = [event["type"] for _, event in events]
        assert types == ["up"] * SFUS

    def output(self) -> str:
        """All that the replicas that run now have said."""
        return "".join(replica.process.output for replica in self._replicas)


@pytest.fixture
def rotation(own_server: RedisServer, tmp_path: Path) -> Iterator[Rotation]:
    """A deployment that is not started yet."""
    with contextlib.ExitStack() as stack:
        yield Rotation(own_server, tmp_path, stack)


def check_nobody_noticed(rotation: Rotation, asking: Asking) -> None:
    """No request failed, and each discussion kept its channel all the time."""
    rotation.check_fleet()
    assert Counter(asking.odoo.statuses).keys() == {200}
    assert asking.failed == 0
    assert {discussion: len(stored) for discussion, stored in asking.channels.items()} == dict.fromkeys(
        range(DISCUSSIONS), 1
    )
    assert "sfu_failed" not in rotation.output()


@pytest.mark.rehearsal
def test_the_gateway_key_is_replaced_and_nobody_notices(rotation: Rotation) -> None:
    asking = rotation.begin()
    rotation.replicas_get(**{GATEWAY: f"{GATEWAY_KEY},{NEW_KEY}"})
    rotation.odoo_gets(NEW_KEY)
    rotation.replicas_get(**{GATEWAY: f"{NEW_KEY},{GATEWAY_KEY}"})
    rotation.wait_two_intervals()
    rotation.replicas_get(**{GATEWAY: NEW_KEY})
    check_nobody_noticed(rotation, asking)


@pytest.mark.rehearsal
def test_the_registration_key_is_replaced_and_nobody_notices(rotation: Rotation) -> None:
    asking = rotation.begin()
    rotation.replicas_get(**{REGISTRATION: f"{REGISTRATION_KEY},{NEW_KEY}"})
    rotation.agents_get_the_last_registration_key()
    rotation.replicas_get(**{REGISTRATION: NEW_KEY})
    rotation.wait_two_intervals()
    assert "credentials_invalid" not in rotation.output()
    check_nobody_noticed(rotation, asking)


@pytest.mark.rehearsal
def test_the_sealing_key_is_replaced_and_nobody_notices(rotation: Rotation) -> None:
    asking = rotation.begin(**{SEALING: SEALING_KEY})
    rotation.replicas_get(**{SEALING: f"{SEALING_KEY},{NEW_KEY}"})
    rotation.replicas_get(**{SEALING: f"{NEW_KEY},{SEALING_KEY}"})
    rotation.wait_two_intervals()
    rotation.replicas_get(**{SEALING: NEW_KEY})
    check_nobody_noticed(rotation, asking)


@pytest.mark.rehearsal
def test_sealing_keys_are_set_for_the_first_time_and_nobody_notices(rotation: Rotation) -> None:
    asking = rotation.begin()
    derived = derived_as_documented(GATEWAY_KEY)
    rotation.replicas_get(**{SEALING: f"{derived},{NEW_KEY}"})
    rotation.replicas_get(**{SEALING: f"{NEW_KEY},{derived}"})
    rotation.wait_two_intervals()
    rotation.replicas_get(**{SEALING: NEW_KEY})
    check_nobody_noticed(rotation, asking)


def derived_as_documented(gateway_key: str) -> str:
    """Run the example of docs/key-rotation.md."""
    (example,) = re.findall(r"```python\n(.+?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(textwrap.dedent(example), names)  # noqa: S102 - the project's own documentation
    return str(names["derived"](gateway_key))
