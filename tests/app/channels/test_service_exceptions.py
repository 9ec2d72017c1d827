"""Locks and reservations of requests that end with an exception."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from app.channels.observer import NullObserver
from app.channels.placer import Placer, RegistryWait
from app.channels.service import Placed
from app.crypto.tokens import Key
from app.errors import InvalidField
from app.registry.placements import Busy, ForwardOutcome, Placement, PlacementRequest
from app.settings.model import FailoverSettings
from app.upstream.client import Channel, Forwarder
from tests.app.channels.gateway import Gateway
from tests.support.waiting import eventually
from workers.simulator.faults import Delay, Hang, NoFault, Refuse, Status

PATIENT = FailoverSettings(deadline_ms=20_000)


async def leave(asking: "asyncio.Task[Placed]") -> None:
    """End a request as a server does whose client has gone."""
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def nothing_is_held(gateway: Gateway) -> bool:
    """Whether neither lock nor reservation is left."""
    return await gateway.is_free() and not any(await gateway.reserved())


async def test_a_caller_that_leaves_while_an_sfu_is_asked_gives_everything_back(gateway: Gateway) -> None:
    await gateway.add(2)
    await gateway.break_all(Hang(), Hang())
    asking = asyncio.create_task(gateway.replica(PATIENT).create(gateway.request()))
    await eventually(lambda: gateway.tries() == [1, 0])
    assert not await nothing_is_held(gateway)
    await leave(asking)
    await eventually(lambda: nothing_is_held(gateway))
    assert gateway.tries() == [1, 0]
    assert await gateway.states() == ["up", "up"]


async def test_the_next_request_of_an_issuer_does_not_wait_for_one_whose_caller_left(
    gateway: Gateway,
) -> None:
    await gateway.add(1)
    await gateway.break_all(Hang())
    replica = gateway.replica(PATIENT)
    asking = asyncio.create_task(replica.create(gateway.request()))
    await eventually(lambda: gateway.tries() == [1])
    await leave(asking)
    await gateway.break_all(Delay(ms=0))
    await asyncio.wait_for(replica.create(gateway.request()), 10)


class StalledRegistry(Placer):
    """A placer whose answers the test holds back."""

    def __init__(self, real: Placer) -> None:
        self._real = real
        self.has_selected = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.reports: list[ForwardOutcome] = []

    def wait(self) -> RegistryWait:
        """As the real one."""
        return self._real.wait()

    async def select(self, request: PlacementRequest, wait: RegistryWait | None = None) -> Placement | Busy:
        """Select, and answer later."""
        answer = await self._real.select(request, wait)
        self.has_selected.set()
        await self.may_answer.wait()
        return answer

    async def record_outcome(self, report: ForwardOutcome, wait: RegistryWait | None = None) -> bool:
        """Pass on."""
        self.reports.append(report)
        return await self._real.record_outcome(report, wait)

    def record_created(
        self, report: ForwardOutcome, then: Callable[[bool], None]
    ) -> asyncio.Future[Any] | None:
        """Leave it to `record_outcome`."""

    def open_key(self, placement: Placement) -> Key:
        """Pass on."""
        return self._real.open_key(placement)


async def test_a_caller_that_leaves_while_an_sfu_is_selected_gives_everything_back(gateway: Gateway) -> None:
    await gateway.add(1)
    placer = StalledRegistry(gateway.placer())
    asking = asyncio.create_task(gateway.replica(PATIENT, placer).create(gateway.request()))
    await placer.has_selected.wait()
    await leave(asking)
    assert not await nothing_is_held(gateway)
    placer.may_answer.set()
    await eventually(lambda: nothing_is_held(gateway))
    assert gateway.tries() == [0]
    assert [(report.result, report.is_final, report.attempt) for report in placer.reports] == [
        ("unblamed", True, 1)
    ]


class StalledReports(StalledRegistry):
    """A placer whose reports the test holds back."""

    def __init__(self, real: Placer) -> None:
        super().__init__(real)
        self.may_answer.set()
        self.may_report = asyncio.Event()

    async def record_outcome(self, report: ForwardOutcome, wait: RegistryWait | None = None) -> bool:
        """Report later."""
        self.reports.append(report)
        await self.may_report.wait()
        return await self._real.record_outcome(report, wait)


async def test_a_report_that_a_leaving_caller_interrupts_is_made_again(gateway: Gateway) -> None:
    await gateway.add(2)
    await gateway.break_all(Refuse(), NoFault())
    placer = StalledReports(gateway.placer())
    replica = gateway.replica(PATIENT, placer)
    asking = asyncio.create_task(replica.create(gateway.request()))
    await eventually(lambda: len(placer.reports) == 1)
    await leave(asking)
    placer.may_report.set()
    await eventually(lambda: replica.is_settled)
    assert await nothing_is_held(gateway)
    assert sorted((report.result, report.attempt) for report in placer.reports) == [
        ("failed", 1),
        ("failed", 1),
        ("unblamed", 2),
    ]
    assert gateway.tries() == [0, 0]
    assert await gateway.states() == ["failed", "up"]


@pytest.mark.parametrize("claim", [{"x": "\ud800"}, {"\ud800": 1}, {"x": object()}])
async def test_claims_that_cannot_be_written_are_refused_with_a_code_and_give_everything_back(
    gateway: Gateway, claim: dict[str, Any]
) -> None:
    await gateway.add(2)
    request = gateway.request()
    request.caller.claims.update(claim)
    with pytest.raises(InvalidField) as caught:
        await gateway.replica().create(request)
    assert caught.value.field == "token"
    assert gateway.tries() == [0, 0]
    assert await nothing_is_held(gateway)
    assert await gateway.states() == ["up", "up"]


class DefectiveForwarder(Forwarder):
    """A forwarder with a defect."""

    def __init__(self) -> None: ...

    async def create_channel(self, *_: object, **__: object) -> Channel:
        """Fail in a way that nobody expects."""
        raise ZeroDivisionError


async def test_a_defect_while_forwarding_gives_everything_back_and_is_not_hidden(gateway: Gateway) -> None:
    await gateway.add(2)
    gateway.forwarder = DefectiveForwarder()
    with pytest.raises(ZeroDivisionError):
        await gateway.ask()
    assert await nothing_is_held(gateway)
    assert await gateway.states() == ["up", "up"]


class DefectiveReports(StalledRegistry):
    """A placer that cannot report."""

    async def record_outcome(self, report: ForwardOutcome, wait: RegistryWait | None = None) -> bool:
        """Fail in a way that nobody expects."""
        self.reports.append(report)
        raise ZeroDivisionError


class Defects(NullObserver):
    """Keeps the defects of reports."""

    def __init__(self) -> None:
        self.seen: list[Exception] = []

    def report_failed(self, error: Exception) -> None:
        self.seen.append(error)


async def test_a_channel_is_answered_and_the_other_attempts_are_reported_when_a_report_has_a_defect(
    gateway: Gateway,
) -> None:
    await gateway.add(2)
    await gateway.sfus[0].set_fault(Status(status=500))
    defects = Defects()
    placer = DefectiveReports(gateway.placer())
    placer.may_answer.set()
    placed = await gateway.replica(placer=placer, observer=defects).create(gateway.request())
    assert placed.attempts == 2
    await eventually(lambda: len(defects.seen) == 2)
    assert [(report.result, report.attempt, report.error) for report in placer.reports] == [
        ("created", 2, ""),
        ("failed", 1, "answered 500 to /v1/channel"),
    ]
    assert [type(error) for error in defects.seen] == [ZeroDivisionError] * 2
