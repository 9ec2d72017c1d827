"""Which SFU is blamed for an attempt that created no channel."""

import asyncio
import dataclasses
import errno
import socket
import threading
from collections.abc import Callable

import pytest

from app.errors import AllSfusFailed, DeadlineExceeded, ReplicaFault, RequestRefusedBySfu
from app.settings.model import FailoverSettings
from app.upstream.client import Blame, Forwarder, ForwardError
from tests.app.channels.gateway import Gateway
from tests.support.ports import free_port
from workers.simulator.faults import Drip, Fault, Garbage, Hang, NoFault, NoUuid, Redirect, Refuse, Status

BRISK = FailoverSettings(deadline_ms=1_000)
REFUSALS = (400, 402, 404, 405, 406, 409, 410, 413, 414, 421, 422, 426, 431)
MISCONFIGURED = (401, 403, 404, 405, 410, 421)
EVERY_STATUS = (*REFUSALS, 401, 403, 408, 425, 429, 500, 501, 502, 503, 504)


@pytest.mark.parametrize("status", EVERY_STATUS)
async def test_a_status_is_the_first_sfus_fault_when_the_next_one_serves_the_request(
    gateway: Gateway, status: int
) -> None:
    await gateway.add(2)
    await gateway.sfus[0].set_fault(Status(status=status))
    placed = await gateway.ask()
    assert placed.placement.address == gateway.sfus[1].address
    assert await gateway.states() == ["misconfigured" if status in MISCONFIGURED else "failed", "up"]


@pytest.mark.parametrize("fault", [Garbage(), NoUuid(), Redirect()], ids=lambda fault: str(fault.fault))
async def test_an_unusable_answer_is_the_first_sfus_fault_when_the_next_one_serves_the_request(
    gateway: Gateway, fault: Fault
) -> None:
    await gateway.add(2)
    await gateway.sfus[0].set_fault(fault)
    await gateway.ask()
    assert await gateway.states() == ["failed", "up"]


@pytest.mark.parametrize("status", REFUSALS)
async def test_equal_refusals_of_two_sfus_are_the_requests_and_the_third_sfu_is_not_asked(
    gateway: Gateway, status: int
) -> None:
    await gateway.add(3)
    await gateway.break_all(*[Status(status=status)] * 3)
    with pytest.raises(RequestRefusedBySfu, match=f"answered {status}.*answered {status}"):
        await gateway.ask()
    assert gateway.tries() == [1, 1, 0]
    assert await gateway.states() == ["up"] * 3
    assert await gateway.reserved() == [0] * 3
    assert await gateway.is_free()


@pytest.mark.parametrize(
    ("status", "state"), [(401, "misconfigured"), (403, "misconfigured"), (429, "failed"), (503, "failed")]
)
async def test_a_refused_key_or_rate_does_not_end_the_search(
    gateway: Gateway, status: int, state: str
) -> None:
    await gateway.add(4)
    await gateway.break_all(Status(status=status), Status(status=status), NoFault(), NoFault())
    await gateway.ask()
    assert await gateway.states() == [state, state, "up", "up"]


@pytest.mark.parametrize(
    "faults",
    [
        (Status(status=500), Status(status=500), Status(status=401)),
        (Status(status=404), Status(status=500), Garbage()),
        (Status(status=404), Status(status=400), Status(status=404)),
        (Status(status=401), Status(status=401), Status(status=401)),
        (NoUuid(), Hang(), Status(status=403)),
        (Hang(), Drip(bytes_per_second=1), Hang()),
    ],
)
async def test_no_sfu_is_blamed_when_none_served_the_request(
    gateway: Gateway, faults: tuple[Fault, ...]
) -> None:
    await gateway.add(3)
    await gateway.break_all(*faults)
    with pytest.raises((AllSfusFailed, RequestRefusedBySfu, DeadlineExceeded)):
        await gateway.replica(BRISK).create(gateway.request())
    assert await gateway.states() == ["up"] * 3
    assert await gateway.reserved() == [0] * 3
    assert await gateway.is_free()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Status(status=404), RequestRefusedBySfu),
        (Status(status=401), AllSfusFailed),
        (Status(status=500), AllSfusFailed),
        (Garbage(), AllSfusFailed),
        (Hang(), DeadlineExceeded),
    ],
)
async def test_the_answer_of_the_only_sfu_blames_nobody(
    gateway: Gateway, fault: Fault, error: type[Exception]
) -> None:
    await gateway.add(1)
    await gateway.break_all(fault)
    with pytest.raises(error):
        await gateway.replica(BRISK).create(gateway.request())
    assert await gateway.states() == ["up"]
    assert await gateway.is_free()


async def test_an_sfu_that_cannot_be_connected_to_is_blamed_at_once_and_the_error_says_why(
    gateway: Gateway,
) -> None:
    await gateway.add(2)
    await gateway.break_all(Refuse(), Status(status=500))
    with pytest.raises(AllSfusFailed, match="connection refused; answered 500 to /v1/channel"):
        await gateway.ask()
    assert await gateway.states() == ["failed", "up"]
    assert await gateway.is_free()


class BrokenReplica(Forwarder):
    """A forwarder whose first requests fail on this side."""

    def __init__(self, real: Forwarder, failures: int) -> None:
        self._real = real
        self._failures = failures

    async def create_channel(self, *args: object, **options: object):  # type: ignore[no-untyped-def]
        """Fail, or ask the SFU."""
        if self._failures:
            self._failures -= 1
            raise ForwardError("cannot be reached: too many open files", blame="never")
        return await self._real.create_channel(*args, **options)  # type: ignore[arg-type]


async def test_a_fault_of_the_replica_fails_over_and_blames_nobody(gateway: Gateway) -> None:
    await gateway.add(2)
    gateway.forwarder = BrokenReplica(gateway.forwarder, 1)
    placed = await gateway.ask()
    assert placed.attempts == 2
    assert await gateway.states() == ["up", "up"]
    assert await gateway.reserved() == [0, 4]


async def test_a_replica_that_can_ask_no_sfu_says_that_it_is_the_replicas_fault(gateway: Gateway) -> None:
    await gateway.add(2)
    gateway.forwarder = BrokenReplica(gateway.forwarder, 2)
    with pytest.raises(ReplicaFault, match="too many open files"):
        await gateway.ask()
    assert await gateway.states() == ["up", "up"]
    assert await gateway.reserved() == [0, 0]
    assert await gateway.is_free()


async def test_a_callers_address_that_no_header_can_carry_blames_nobody(gateway: Gateway) -> None:
    await gateway.add(3)
    request = dataclasses.replace(gateway.request(), client="::1%é")
    with pytest.raises(ReplicaFault, match="a header cannot be written"):
        await gateway.replica().create(request)
    assert await gateway.states() == ["up"] * 3
    assert await gateway.is_free()


# What the HTTP client says


def _refuse(code: int) -> Callable[..., object]:
    async def create_connection(*_: object, **__: object) -> object:
        raise OSError(code, "made by the test")

    return create_connection


@pytest.mark.parametrize(
    ("code", "blame"),
    [
        (errno.ECONNREFUSED, "at-once"),
        (errno.EHOSTUNREACH, "at-once"),
        (errno.ETIMEDOUT, "at-once"),
        (errno.EMFILE, "never"),
        (errno.ENFILE, "never"),
        (errno.EADDRNOTAVAIL, "never"),
        (errno.ENETUNREACH, "never"),
    ],
)
async def test_a_connection_that_cannot_be_opened_is_the_sfus_fault_unless_the_replica_lacks_something(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, code: int, blame: Blame
) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", _refuse(code))
    error = await _failure_of(gateway.forwarder, f"http://127.0.0.1:{free_port()}")
    assert error.blame == blame
    assert error.status is None


@pytest.mark.parametrize(
    ("code", "blame"),
    [(socket.EAI_AGAIN, "never"), (socket.EAI_FAIL, "never"), (socket.EAI_NONAME, "with-witness")],
)
async def test_a_resolver_that_is_away_blames_nobody_and_a_name_that_does_not_exist_needs_a_witness(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, code: int, blame: Blame
) -> None:
    def getaddrinfo(*_: object, **__: object) -> object:
        raise socket.gaierror(code, "made by the test")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert (await _failure_of(gateway.forwarder, "http://sfu1.test:8070")).blame == blame


async def test_a_slow_resolver_blames_nobody(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    may_answer = threading.Event()

    def getaddrinfo(*_: object, **__: object) -> list[object]:
        may_answer.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert (await _failure_of(gateway.forwarder, "http://sfu1.test:8070", timeout_s=0.05)).blame == "never"
    may_answer.set()


async def test_a_header_that_cannot_be_written_blames_nobody(gateway: Gateway) -> None:
    [sfu] = await gateway.add(1)
    assert (await _failure_of(gateway.forwarder, sfu.address, client="::1%é")).blame == "never"


async def _failure_of(
    forwarder: Forwarder, address: str, *, client: str = "192.0.2.7", timeout_s: float = 2
) -> ForwardError:
    with pytest.raises(ForwardError) as caught:
        await forwarder.create_channel(
            address, token="x.y.z", client=client, public_url="", query="", timeout_s=timeout_s
        )
    return caught.value
