"""Suspects are asked, and those that are dead are ended."""

from collections.abc import AsyncIterator

import pytest

from app.rescue.sfu_watch import SfuWatch
from app.upstream.addresses import AddressGuard
from app.upstream.client import Forwarder
from tests.lua.fleet import Fleet
from tests.support.engines import fake_engine
from tests.support.ports import free_port
from tests.support.simulated import running_sfu
from tests.support.waiting import eventually
from workers.simulator.faults import Fault, Hang, Status


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    """A fleet on a Redis in this process."""
    async with fake_engine().connect() as client:
        yield Fleet(client)


@pytest.fixture
async def watch(fleet: Fleet) -> AsyncIterator[SfuWatch]:
    """It gives SFUs 0.3 s."""
    async with Forwarder(AddressGuard()) as forwarder:
        watch = SfuWatch(fleet.registry, forwarder, 0.3)
        yield watch
        await watch.stop()


async def test_an_sfu_that_refuses_connections_is_ended(fleet: Fleet, watch: SfuWatch) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    await fleet.beat(address)
    await watch.step()
    assert await fleet.state(address) == "selectable"
    fleet.wait(10_500)
    await watch.step()

    async def is_down() -> bool:
        return await fleet.state(address) == "lost"

    await eventually(is_down)
    assert (await fleet.events(address))[-1] == "down unreachable"
    await watch.step()


@pytest.mark.parametrize("fault", [Hang(), Status(status=502), Status(status=504)], ids=str)
async def test_an_sfu_that_hangs_or_that_its_proxy_does_not_reach_is_ended(
    fleet: Fleet, watch: SfuWatch, fault: Fault
) -> None:
    async with running_sfu() as (sfu, _):
        await sfu.set_fault(fault)
        await fleet.beat(sfu.address)
        await fleet.fail(sfu.address)
        await watch.step()

        async def is_down() -> bool:
            return await fleet.state(sfu.address) == "lost"

        await eventually(is_down)


@pytest.mark.parametrize("fault", [None, Status(status=500), Status(status=404)])
async def test_an_sfu_that_answers_anything_is_alive(
    fleet: Fleet, watch: SfuWatch, fault: Fault | None
) -> None:
    async with running_sfu() as (sfu, _):
        if fault is not None:
            await sfu.set_fault(fault)
        await fleet.beat(sfu.address)
        fleet.wait(10_500)
        await watch.step()
        await eventually(lambda: sfu.calls)
        await watch.step()
        assert await fleet.state(sfu.address) == "selectable"


async def test_what_the_gateway_cannot_ask_is_not_ended(fleet: Fleet, watch: SfuWatch) -> None:
    address = "http://no-resolver-knows-it.invalid:8070"
    await fleet.beat(address)
    fleet.wait(10_500)
    await watch.step()
    await watch.stop()
    assert await fleet.state(address) == "selectable"
