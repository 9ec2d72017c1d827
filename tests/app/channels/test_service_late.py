"""SFUs that answer after their share of a request's time."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from app.channels.observer import NullObserver
from app.errors import DeadlineExceeded
from app.settings.model import FailoverSettings
from app.upstream.client import Channel, Forwarder
from tests.app.channels.gateway import Gateway
from tests.support.waiting import eventually
from workers.simulator.faults import Delay, Drip, Fault, Hang, NoFault, Serve, Status

PATIENT = FailoverSettings(deadline_ms=2_000)
"""The next SFU is asked after a second."""


class Held(Fault):
    """The right answer once the test says so."""

    fault: str = "held"
    _released: asyncio.Event

    def model_post_init(self, _: object) -> None:
        self._released = asyncio.Event()

    def release(self) -> None:
        """Let the SFU answer."""
        self._released.set()

    async def answer(self, request: web.BaseRequest, serve: Serve) -> web.StreamResponse:
        await self._released.wait()
        return await serve()


class LateFailure(Held):
    """A refusal once the test says so."""

    async def answer(self, request: web.BaseRequest, serve: Serve) -> web.StreamResponse:
        await super().answer(request, serve)
        return web.Response(status=403)


class Listening(Forwarder):
    """A forwarder that tells which SFUs have answered."""

    def __init__(self, real: Forwarder) -> None:
        self._real = real
        self.answered: list[str] = []

    async def create_channel(self, address: str, **options: Any) -> Channel:
        """Ask the SFU."""
        channel = await self._real.create_channel(address, **options)
        self.answered.append(address)
        return channel


class Orphans(NullObserver):
    """Counts orphaned channels, by region."""

    def __init__(self) -> None:
        self.regions: list[str] = []

    def channel_orphaned(self, region: str) -> None:
        self.regions.append(region)


async def test_an_sfu_that_answers_after_its_share_serves_the_request_while_the_next_one_is_asked(
    gateway: Gateway,
) -> None:
    await gateway.add(2)
    first, second = Held(), Held()
    await gateway.break_all(first, second)
    asking = asyncio.create_task(gateway.replica(PATIENT).create(gateway.request()))
    await eventually(lambda: gateway.tries() == [1, 1])
    first.release()
    placed = await asking
    assert (placed.placement.address, placed.attempts) == (gateway.sfus[0].address, 2)
    assert await gateway.states() == ["up", "up"]


async def test_a_late_answer_of_the_first_attempt_is_where_the_issuer_stays(gateway: Gateway) -> None:
    await gateway.add(2)
    first, second = Held(), Held()
    await gateway.break_all(first, second)
    replica = gateway.replica(PATIENT)
    asking = asyncio.create_task(replica.create(gateway.request()))
    await eventually(lambda: gateway.tries() == [1, 1])
    first.release()
    placed = await asking
    await gateway.break_all(NoFault(), NoFault())
    again = await replica.create(gateway.request())
    assert again.channel == placed.channel
    assert gateway.created() == 1


async def test_an_sfu_that_answers_after_another_one_served_is_counted_and_not_blamed(
    gateway: Gateway,
) -> None:
    await gateway.add(2)
    held, orphans = Held(), Orphans()
    await gateway.sfus[0].set_fault(held)
    placed = await gateway.replica(PATIENT, observer=orphans).create(gateway.request())
    assert placed.placement.address == gateway.sfus[1].address
    assert orphans.regions == []
    held.release()
    await eventually(lambda: orphans.regions == ["eu"])
    assert await gateway.states() == ["up", "up"]
    assert gateway.created() == 2
    again = await gateway.ask()
    assert again.channel == placed.channel


async def test_a_call_stays_on_its_slow_sfu_although_another_one_answers_first(gateway: Gateway) -> None:
    await gateway.add(2)
    placed = await gateway.ask()
    held, orphans = Held(), Orphans()
    await gateway.sfus[0].set_fault(held)
    gateway.forwarder = listening = Listening(gateway.forwarder)
    asking = asyncio.create_task(gateway.replica(PATIENT, observer=orphans).create(gateway.request()))
    await eventually(lambda: listening.answered == [gateway.sfus[1].address])
    assert not asking.done()
    held.release()
    again = await asking
    assert again.channel == placed.channel
    await eventually(lambda: orphans.regions == ["eu"])
    assert await gateway.states() == ["up", "up"]
    assert (await gateway.ask()).channel == placed.channel


@pytest.mark.parametrize("fault", [Hang(), Drip(bytes_per_second=1)], ids=lambda fault: str(fault.fault))
async def test_a_call_whose_sfu_does_not_answer_in_time_gets_the_channel_of_the_next_one_within_the_deadline(
    gateway: Gateway, fault: Fault
) -> None:
    await gateway.add(2)
    await gateway.ask()
    await gateway.sfus[0].set_fault(fault)
    placed = await gateway.replica(FailoverSettings(deadline_ms=1_000)).create(gateway.request())
    assert placed.placement.address == gateway.sfus[1].address
    assert (await gateway.ask()).channel == placed.channel


async def test_a_call_whose_slow_sfu_fails_at_last_gets_the_channel_that_the_next_one_has_made(
    gateway: Gateway,
) -> None:
    await gateway.add(3)
    await gateway.ask()
    late = LateFailure()
    await gateway.sfus[0].set_fault(late)
    asking = asyncio.create_task(gateway.replica(PATIENT).create(gateway.request()))
    await eventually(lambda: gateway.created() == 2)
    late.release()
    assert (await asking).placement.address == gateway.sfus[1].address
    assert gateway.tries()[2] == 0
    assert await gateway.states() == ["misconfigured", "up", "up"]


async def test_the_only_sfu_has_all_the_time_there_is(gateway: Gateway) -> None:
    await gateway.add(1)
    await gateway.break_all(Delay(ms=1_300))
    placed = await gateway.replica(PATIENT).create(gateway.request())
    assert placed.attempts == 1
    assert await gateway.states() == ["up"]


async def test_sfus_that_are_all_slower_than_their_share_fail_no_request_and_are_not_blamed(
    gateway: Gateway,
) -> None:
    await gateway.add(3)
    await gateway.break_all(*[Delay(ms=1_200)] * 3)
    replica = gateway.replica(PATIENT)
    placed = await asyncio.gather(*(replica.create(gateway.request(f"issuer {i}")) for i in range(6)))
    assert len(placed) == 6
    assert await gateway.states() == ["up"] * 3
    await replica.__aexit__(None, None, None)
    assert await gateway.states() == ["up"] * 3


async def test_an_sfu_that_never_answers_is_blamed_when_its_time_is_over_and_another_one_served(
    gateway: Gateway,
) -> None:
    await gateway.add(2)
    await gateway.sfus[0].set_fault(Hang())
    placed = await gateway.replica(FailoverSettings(deadline_ms=1_000)).create(gateway.request())
    assert placed.placement.address == gateway.sfus[1].address
    assert await gateway.states() == ["up", "up"]

    async def is_blamed() -> bool:
        return await gateway.states() == ["failed", "up"]

    await eventually(is_blamed)


async def test_an_sfu_that_fails_after_another_one_served_is_blamed(gateway: Gateway) -> None:
    await gateway.add(2)
    late = LateFailure()
    await gateway.sfus[0].set_fault(late)
    await gateway.replica(PATIENT).create(gateway.request())
    late.release()

    async def is_blamed() -> bool:
        return await gateway.states() == ["misconfigured", "up"]

    await eventually(is_blamed)


async def test_an_open_attempt_is_awaited_when_all_others_have_failed(gateway: Gateway) -> None:
    await gateway.add(4)
    held = Held()
    await gateway.break_all(held, Status(status=404), Status(status=404), NoFault())
    asking = asyncio.create_task(gateway.replica(PATIENT).create(gateway.request()))
    await eventually(lambda: gateway.tries() == [1, 1, 1, 0])
    held.release()
    assert (await asking).placement.address == gateway.sfus[0].address
    assert await gateway.states() == ["up", "misconfigured", "misconfigured", "up"]


async def test_attempts_that_are_open_at_the_deadline_are_ended_and_give_everything_back(
    gateway: Gateway,
) -> None:
    await gateway.add(2)
    await gateway.break_all(Hang(), Hang())
    with pytest.raises(DeadlineExceeded, match="2 SFUs were asked: did not answer yet"):
        await gateway.replica(FailoverSettings(deadline_ms=1_000)).create(gateway.request())
    assert await gateway.states() == ["up", "up"]
    assert await gateway.reserved() == [0, 0]
    assert await gateway.is_free()


async def test_a_search_that_found_no_other_sfu_takes_nothing_from_the_retry_budget(gateway: Gateway) -> None:
    await gateway.add(1)
    await gateway.break_all(Status(status=500))
    replica = gateway.replica(monotonic=lambda: 0)
    for number in range(60):  # more than the budget holds
        with pytest.raises(Exception, match="answered 500"):
            await replica.create(gateway.request(f"issuer {number}"))
    await gateway.add(1)
    await replica.create(gateway.request())


async def test_closing_the_journey_ends_late_attempts_and_reports_them(gateway: Gateway) -> None:
    await gateway.add(2)
    await gateway.sfus[0].set_fault(Held())
    replica = gateway.replica(PATIENT)
    async with replica:
        await replica.create(gateway.request())
    assert await gateway.states() == ["up", "up"]
    assert await gateway.reserved() == [0, 4]
