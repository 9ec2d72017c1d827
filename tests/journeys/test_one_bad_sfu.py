"""One bad SFU of a fleet, in every way: no call is refused that a healthy SFU would have taken.

Real replicas on a real Redis, simulated SFUs with faults. Each case registers its SFUs anew by one heartbeat each,
so that what was learned of the bad SFU stays for as long as the case lasts.
"""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import httpx
import pytest

from tests.journeys.deployment import Deployment, Replica, RunningFleet
from tests.support.engines import RedisServer, required_binary
from tests.support.waiting import eventually_sync

DEADLINE_MS: Final = 1_400
"""The next SFU is asked after half of it."""

REQUESTS: Final = 4

STATUSES: Final = (400, 401, 404, 429, 500, 503)
"""One of each kind; tests/app/channels/test_fault_matrix.py has every status."""

REDIS_TIMEOUT_MS: Final = DEADLINE_MS - 200
"""The machine may be busy. These cases are of SFUs: no reply of Redis counts as lost while there is time for it."""

STALL_S: Final = 30
"""For how long a busy machine may keep a process from answering the test itself."""

FAULTS: Final[dict[str, dict[str, Any]]] = {
    **{str(status): {"fault": "status", "status": status} for status in STATUSES},
    "reset": {"fault": "reset"},
    "hang": {"fault": "hang"},
    "drip": {"fault": "drip", "bytes_per_second": 2},
    "garbage": {"fault": "garbage"},
    "wrong-key": {"fault": "none"},
    "slow": {"fault": "delay", "ms": DEADLINE_MS * 6 // 10},
    "refuse": {"fault": "refuse", "seconds": 1},
}

SERVES_LATE: Final = frozenset({"slow"})
"""Faults of an SFU that serves every call in the end."""

WRONG_KEY: Final = "YW5vdGhlciBrZXkgdGhhbiB0aGF0IG9mIHRoZSBTRlU="


@dataclass
class Case:
    """A bad SFU (the first one, and the emptiest) and two others."""

    replicas: Sequence[Replica]
    fleet: RunningFleet
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    keys: dict[str, str] = field(default_factory=dict)

    def register(self, address: str, *, region: str = "eu-west", key: str = "", **figures: Any) -> None:
        """Send a heartbeat of an SFU."""
        self.keys[address] = key or self.fleet.key_of(address)
        idle = {"channels": 0, "sessions": 0, "cpuUsage": 0, "memoryUsage": 0}
        answer = self.replicas[0].heartbeat(
            address, self.keys[address], **{"region": region, **idle, **figures}
        )
        assert answer.status_code == 200, answer.text

    def register_bad(self, fault: str, **options: Any) -> None:
        """Register the bad SFU, with a key that is not its own where that is the fault."""
        self.register(self.fleet.addresses[0], key=WRONG_KEY if fault == "wrong-key" else "", **options)
        self.break_with(FAULTS[fault])

    def break_with(self, fault: dict[str, Any]) -> None:
        """Give the bad SFU a fault."""
        self.fleet.control(self.fleet.addresses[0], "fault", {**fault, "route": "/v1/channel"})

    def mend(self, fault: str) -> None:
        """Take the fault away; the registration stays as it is."""
        if fault == "wrong-key":
            return  # only another registration mends that
        address = self.fleet.addresses[0]

        def is_reached() -> bool:
            try:
                self.break_with({"fault": "none"})
            except httpx.TransportError:
                return False
            return True

        eventually_sync(is_reached, timeout_seconds=STALL_S)
        assert self.fleet.state(address)["fault"]["fault"] == "none"

    def ask(self, path: str = "/v1/channel", requests: int = REQUESTS) -> list[httpx.Response]:
        """Ask both replicas at once, each request for a call of its own."""
        issuers = [f"https://odoo.example:channel:{next(self.numbers)}" for _ in range(requests)]
        with ThreadPoolExecutor(requests) as pool:
            return list(
                pool.map(lambda pair: self.replicas[pair[0] % 2].ask(pair[1], path), enumerate(issuers))
            )

    def status_of_bad(self) -> str | None:
        """How `/v1/health` shows the bad SFU."""
        return self.replicas[1].status_of(self.fleet.addresses[0])

    def forget(self) -> None:
        """Remove every trace of every SFU."""
        self.mend("")
        for address in self.keys:
            eventually_sync(partial(self._is_forgotten, address), timeout_seconds=STALL_S)
        self.keys.clear()

    def _is_forgotten(self, address: str) -> bool:
        """Whether the registry has forgotten an SFU; an order that is refused for now (503) is repeated."""
        answer = self.replicas[0].admin("forget", address=address)
        assert answer.status_code in (200, 404, 503), answer.text
        return answer.status_code != 503


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """Two replicas and three SFUs, for all cases."""
    directory = tmp_path_factory.mktemp("one-bad-sfu")
    with (
        RedisServer(required_binary("redis"), directory) as server,
        Deployment(
            server,
            directory,
            failover__deadline_ms=str(DEADLINE_MS),
            redis__timeout_ms=str(REDIS_TIMEOUT_MS),
        ) as deployment,
    ):
        replicas = [deployment.replica(), deployment.replica()]
        yield Case(replicas, deployment.fleet(3, [], "--creation-delay-ms", "1"))


@pytest.fixture
def case(running: Case) -> Iterator[Case]:
    """A fleet of which nothing is registered."""
    yield running
    running.forget()


def codes(answers: Sequence[httpx.Response]) -> list[str]:
    """What refused requests say."""
    return [answer.json()["code"] for answer in answers if answer.status_code != 200]


@pytest.mark.parametrize("fault", FAULTS)
def test_healthy_sfus_take_every_call_beside_one_with_a_fault(case: Case, fault: str) -> None:
    case.register_bad(fault)
    case.register(case.fleet.addresses[1], sessions=100)
    case.register(case.fleet.addresses[2], sessions=200)
    assert codes(case.ask()) == []
    assert codes(case.ask()) == []
    if fault in SERVES_LATE:
        assert case.status_of_bad() == "up"
    else:
        eventually_sync(lambda: case.status_of_bad() not in ("up", None), timeout_seconds=STALL_S)


@pytest.mark.parametrize("fault", FAULTS)
def test_calls_for_the_region_of_one_bad_sfu_go_to_another_region(case: Case, fault: str) -> None:
    case.register_bad(fault, region="us-east")
    case.register(case.fleet.addresses[1], sessions=100)
    assert codes(case.ask("/v1/channel?region=us-east")) == []
    assert codes(case.ask("/v1/channel?region=us-east")) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_the_only_sfu_serves_as_soon_as_it_can(case: Case, fault: str) -> None:
    case.register_bad(fault)
    _check_nobody_else(case, fault)


@pytest.mark.parametrize("fault", list(FAULTS))
def test_an_sfu_beside_a_drained_one_serves_as_soon_as_it_can(case: Case, fault: str) -> None:
    case.register_bad(fault)
    case.register(case.fleet.addresses[1])
    drained = case.replicas[0].admin("drain", address=case.fleet.addresses[1])
    assert drained.status_code == 200
    _check_nobody_else(case, fault)


@pytest.mark.parametrize("fault", list(FAULTS))
def test_an_sfu_beside_a_full_one_serves_as_soon_as_it_can(case: Case, fault: str) -> None:
    case.register_bad(fault)
    case.register(case.fleet.addresses[1], sessions=100, maxSessions=100)
    _check_nobody_else(case, fault)


def _check_nobody_else(case: Case, fault: str) -> None:
    """No other SFU can take a call: the bad one is asked, is not blamed, and is asked again once it is well."""
    answers = case.ask()
    if fault in SERVES_LATE:
        assert codes(answers) == []
    else:
        assert len(codes(answers)) == REQUESTS
        assert set(codes(answers)) <= {"all_failed", "refused_by_sfu", "deadline", "no_sfu", "overloaded"}
    if fault == "wrong-key":
        return
    case.mend(fault)
    assert codes(case.ask()) == []
    if fault != "refuse":
        assert case.status_of_bad() == "up"
