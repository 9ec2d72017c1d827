"""Each trouble on real processes: the diagnosis names it, and the first command of its runbook shows it."""

import itertools
import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from redis import Redis

from app.cli.exits import Exit
from app.diagnosis.trouble import CODES
from tests.chaos.test_clocks import library
from tests.journeys.deployment import Deployment, Replica, RunningFleet
from tests.journeys.test_cli import ADDRESS, KEY, OTHER, Operator, of_gateway, of_redis
from tests.support.engines import RedisServer, required_binary
from tests.support.ports import HOST, free_port
from tests.support.waiting import eventually_sync

RUNBOOKS: Final = (Path(__file__).parents[2] / "docs" / "runbooks.md").read_text(encoding="utf-8")
FIRST_COMMANDS: Final = dict(
    re.findall(r"^## (\w+)\n(?:(?!^## ).)*?^```sh\n(.+?)\n", RUNBOOKS, re.MULTILINE | re.DOTALL)
)
WRONG_KEY: Final = "YW5vdGhlciBrZXkgdGhhbiB0aGF0IG9mIHRoZSBTRlU="
CALLS: Final = itertools.count(1)


@dataclass
class Place:
    """A running gateway, its Redis and two simulated SFUs that report nothing by themselves."""

    server: RedisServer
    replica: Replica
    sfus: RunningFleet
    known: set[str] = field(default_factory=set)

    def beat(self, address: str = ADDRESS, key: str = KEY, **figures: Any) -> None:
        """Send a heartbeat."""
        self.known.add(address)
        assert self.replica.heartbeat(address, key, **figures).status_code == 200

    def beat_real(self, number: int, key: str = "", **figures: Any) -> str:
        """Send the heartbeat of a simulated SFU, idle, by default with its own key; return its address."""
        address = self.sfus.addresses[number]
        idle = {"channels": 0, "sessions": 0, "cpuUsage": 0, "memoryUsage": 0}
        self.beat(address, key or self.sfus.key_of(address), **idle | figures)
        return address

    def ask(self) -> None:
        """Ask for a new call, whatever the answer."""
        self.replica.ask(f"https://odoo.example:channel:{next(CALLS)}")

    def clear(self) -> None:
        """Remove every trace of every SFU."""
        for address in self.known:
            self.replica.admin("forget", address=address)
        self.known.clear()
        for address in self.sfus.addresses:
            self.sfus.control(address, "fault", {"fault": "none", "route": "/v1/channel"})


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One deployment for all faults of SFUs and their requests."""
    directory = tmp_path_factory.mktemp("runbooks")
    with (
        RedisServer(required_binary("redis"), directory) as server,
        Deployment(server, directory, health__ping_interval_ms="1000") as deployment,
    ):
        deployment.sweeper()
        yield Place(server, deployment.replica(), deployment.fleet(2, []))


@pytest.fixture
def place(running: Place) -> Iterator[Place]:
    """The same without SFUs."""
    yield running
    running.clear()


def troubles(replica: Replica) -> dict[str, dict[str, Any]]:
    """What is wrong, by code."""
    answer = replica.client.get("/v1/diagnosis")
    return {str(each["code"]): each for each in answer.raise_for_status().json()["troubles"]}


def trouble_of(replica: Replica, code: str) -> dict[str, Any]:
    """Wait until the diagnosis names it."""
    return eventually_sync(lambda: troubles(replica).get(code, {}), timeout_seconds=30)


def first_command(trouble: dict[str, Any]) -> list[str]:
    """Return the first command of its runbook, which is also the one that it names."""
    subject = trouble["subject"]
    template = FIRST_COMMANDS[trouble["code"]]
    command = template.replace("ADDRESS", subject["name"]).replace("REGION", subject["region"])
    assert trouble["command"] == command
    assert trouble["runbook"] == f"docs/runbooks.md#{trouble['code']}"
    program, *words = shlex.split(command)
    assert program == "sfu-gateway"
    return words


def shown_by(operator: Operator, trouble: dict[str, Any], code: Exit = Exit.OK) -> str:
    """Return what the first command prints."""
    words = first_command(trouble)
    if words[0] == "events":  # needs no token
        operator.where = operator.where[:2]
    done = operator.run(*words)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_every_trouble_has_a_first_command() -> None:
    assert [code for code in CODES if code not in FIRST_COMMANDS] == []


def fleet_empty(place: Place) -> None:
    place.beat()
    place.clear()


def nothing_selectable(place: Place) -> None:
    place.beat()
    place.replica.admin("drain", address=ADDRESS)


def channels_refused(place: Place) -> None:
    for _ in range(5):
        place.ask()


def sfu_misconfigured(place: Place) -> None:
    bad = place.beat_real(0)
    place.sfus.control(bad, "fault", {"fault": "status", "status": 401, "route": "/v1/channel"})
    place.beat_real(1, sessions=500)
    place.ask()


def sfu_ejected(place: Place) -> None:
    bad = place.beat_real(0)
    place.sfus.control(bad, "fault", {"fault": "status", "status": 500, "route": "/v1/channel"})
    place.beat_real(1, sessions=500)
    place.ask()


def sfu_failing(place: Place) -> None:
    place.beat_real(0, WRONG_KEY)
    for _ in range(5):
        place.ask()


def address_shared(place: Place) -> None:
    for instance in ("one", "two", "one"):
        place.beat(instance=instance)


def heartbeats_refused(place: Place) -> None:
    place.beat()
    assert place.replica.heartbeat(ADDRESS, WRONG_KEY).json()["code"] == "address_leased"


def region_empty(place: Place) -> None:
    place.beat()
    place.beat(OTHER, region="us-east")
    place.replica.admin("drain", address=OTHER)


def rescue_failing(place: Place) -> None:
    place.beat()
    seconds, _ = place.server.call("TIME")
    place.server.call("HSET", "{sfu}:fleet", "rescue_failed", 2, "rescue_failed_at", f"{seconds}000")


def sfu_signed_off(place: Place) -> None:
    place.beat()
    place.beat(status="down")


def drain_overdue(place: Place) -> None:
    place.beat()
    place.replica.admin("drain", address=ADDRESS, deadlineMs=1)


def sfu_full(place: Place) -> None:
    place.beat(sessions=1000)


def sfu_overloaded(place: Place) -> None:
    place.beat(cpuUsage=0.99)


def headroom_low(place: Place) -> None:
    place.beat(sessions=900, cpuUsage=0, memoryUsage=0)


def sfu_late(place: Place) -> None:
    place.beat()


def sfu_setup(place: Place) -> None:
    slow = place.beat_real(0)
    place.sfus.control(slow, "fault", {"fault": "clock", "seconds_ahead": -3_600})
    place.ask()


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (fleet_empty, "forgotten"),
        (nothing_selectable, "draining (operator)"),
        (channels_refused, "No SFU takes the call"),
        (sfu_misconfigured, "answered 401"),
        (sfu_ejected, "answered 500"),
        (sfu_failing, "answered 500"),  # as an Odoo SFU does to another key
        (address_shared, "sharedAddress"),
        (heartbeats_refused, ADDRESS),
        (region_empty, "draining"),
        (rescue_failing, "up"),
        (sfu_signed_off, "signed-off"),
        (drain_overdue, "drained"),
        (sfu_full, "full"),
        (sfu_overloaded, "cpu"),
        (headroom_low, "900/1000"),
        (sfu_late, "heartbeatAgeMs"),
        (sfu_setup, "clock_off"),
    ],
    ids=lambda each: each.__name__ if callable(each) else "",
)
def test_a_fault_of_sfus_is_shown_by_the_first_command_of_its_runbook(
    place: Place, fault: Callable[[Place], None], word: str
) -> None:
    fault(place)
    trouble = trouble_of(place.replica, fault.__name__)
    assert word in shown_by(of_gateway(place.replica), trouble)


def test_why_says_the_same_of_sfus_from_redis_and_from_a_gateway(place: Place) -> None:
    place.beat(sessions=1000)
    sources = of_gateway(place.replica), of_redis(place.server)
    asked = [operator.run("why") for operator in sources]
    assert [done.returncode for done in asked] == [Exit.DOCTOR_ERROR, Exit.DOCTOR_ERROR]
    assert all("No SFU takes a new call." in done.stdout for done in asked)
    assert all("docs/runbooks.md#sfu_full" in done.stdout for done in asked)


def test_why_ends_with_one_line_when_nothing_is_wrong(brisk: Deployment, own_server: RedisServer) -> None:
    brisk.sweeper()
    replica = brisk.replica()
    brisk.fleet(2, [replica])
    eventually_sync(lambda: replica.selectable() == 2)
    eventually_sync(lambda: not troubles(replica))
    for operator in (of_gateway(replica), of_redis(own_server)):
        done = operator.run("why")
        assert (done.returncode, len(done.stdout.splitlines())) == (Exit.OK, 1)
        assert done.stdout.startswith("Nothing is wrong: 2 of 2 SFUs selectable")


def test_a_redis_that_is_away(deployment: Deployment, own_server: RedisServer) -> None:
    replica = deployment.replica()
    replica.heartbeat(ADDRESS, KEY)
    own_server.kill()
    trouble = trouble_of(replica, "redis_away")
    assert "does not answer" in shown_by(of_redis(own_server), trouble, Exit.DOCTOR_ERROR)
    done = of_redis(own_server).run("why")
    assert (done.returncode, "docs/runbooks.md#redis_away" in done.stdout) == (Exit.DOCTOR_ERROR, True)


def test_a_redis_that_refuses(deployment: Deployment, own_server: RedisServer) -> None:
    replica = deployment.replica()
    with Redis(port=own_server.port) as admin:
        admin.config_set("requirepass", "another")
        admin.client_kill_filter(_type="normal", skipme=True)
    trouble = trouble_of(replica, "redis_refuses")
    assert "NOAUTH" in shown_by(of_redis(own_server), trouble, Exit.DOCTOR_ERROR)


def test_a_redis_that_is_unfit(deployment: Deployment, own_server: RedisServer) -> None:
    own_server.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    trouble = trouble_of(deployment.replica(), "redis_unfit")
    assert "noeviction" in shown_by(of_redis(own_server), trouble, Exit.DOCTOR_ERROR)


def test_a_replica_whose_redis_has_lost_its_data(deployment: Deployment, own_server: RedisServer) -> None:
    deployment.sweeper()
    replica = deployment.replica()
    replica.heartbeat(ADDRESS, KEY)
    own_server.call("CONFIG", "SET", "appendonly", "yes")
    eventually_sync(lambda: _snapshot_size(replica) == 1, timeout_seconds=30)
    own_server.call("FLUSHALL")
    trouble = trouble_of(replica, "replica_recovering")
    assert "latency" in shown_by(of_redis(own_server), trouble)


def _snapshot_size(replica: Replica) -> int:
    return int(replica.client.get("/v1/dashboard/data").json()["snapshotSize"])


def test_most_sfus_silent_at_once(brisk: Deployment) -> None:
    brisk.sweeper()
    replica = brisk.replica()
    for number in range(5):
        replica.heartbeat(f"http://127.0.0.1:{number + 1}", KEY)
    trouble = trouble_of(replica, "mass_expiry")
    assert "mass-expiry" in shown_by(of_gateway(replica), trouble)


def test_an_sfu_that_is_lost(brisk: Deployment) -> None:
    brisk.sweeper()
    replica = brisk.replica()
    replica.heartbeat(ADDRESS, KEY)
    trouble = trouble_of(replica, "sfu_lost")
    assert (trouble["calls"], trouble["people"]) == (12, 45)
    assert "lost" in shown_by(of_gateway(replica), trouble)


def test_an_sfu_that_is_silent_while_no_sweeper_runs(brisk: Deployment, own_server: RedisServer) -> None:
    replica = brisk.replica()
    replica.heartbeat(ADDRESS, KEY)
    assert "expired" in shown_by(of_gateway(replica), trouble_of(replica, "sfu_silent"))
    swept = trouble_of(replica, "sweeper_missing")
    assert "none leads" in shown_by(of_redis(own_server), swept, Exit.DOCTOR_ERROR)


def test_a_sweeper_that_does_not_publish(deployment: Deployment, own_server: RedisServer) -> None:
    fields = ("type", "up", "address", ADDRESS, "region", "eu", "reason", "", "generation", 1, "at", 1)
    own_server.call("XADD", "{sfu}:events", "1-1", *fields)
    own_server.call("SET", "{sfu}:sweeper", "one that hangs", "PX", 120_000)
    own_server.call("CONFIG", "SET", "appendonly", "yes")
    trouble = trouble_of(deployment.replica(), "sweeper_behind")
    assert "sweeper" in shown_by(of_redis(own_server), trouble)


def test_a_replica_whose_clock_is_off(deployment: Deployment, own_server: RedisServer) -> None:
    wrong_clock = {"LD_PRELOAD": library(), "FAKETIME": "+60", "DONT_FAKE_MONOTONIC": "1"}
    trouble = trouble_of(deployment.replica_in(wrong_clock), "clock_differs")
    operator = of_redis(own_server)
    operator.environment |= wrong_clock  # somebody at a terminal of the replica's host
    assert "ahead of Redis" in shown_by(operator, trouble, Exit.DOCTOR_ERROR)


def test_a_gateway_without_a_replica(own_server: RedisServer) -> None:
    found = _why(of_redis(own_server))["troubles"]
    [trouble] = [each for each in found if each["code"] == "replica_missing"]
    [word] = first_command(trouble)
    done = Operator(["--url", f"http://{HOST}:{free_port()}"]).run(word)
    assert (done.returncode, "ConnectionRefusedError" in done.stderr) == (Exit.FAILED, True)


def _why(operator: Operator) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(operator.run("why", "--json").stdout)
    return document
