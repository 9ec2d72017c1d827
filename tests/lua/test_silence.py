"""The silence clock: time in which no SFU could report is no silence, for every rule that asks for it."""

import pytest

from app.errors import AddressLeased
from app.registry.sfus import Sweep
from tests.lua.fleet import OTHER_KEY, A, B, Fleet

THRESHOLD_MS = 30_000
OUTAGE_MS = 20_000


async def read(fleet: Fleet) -> bool:
    """Read the fleet as replicas do each second; return whether most of it is silent."""
    return (await fleet.registry.fleet.snapshot()).is_held


async def live(fleet: Fleet, ms: int) -> None:
    """Let time pass while replicas read."""
    for _ in range(ms // 1_000):
        fleet.wait(1_000)
        await read(fleet)


async def outlive_an_outage(fleet: Fleet, ms: int = OUTAGE_MS) -> None:
    """Let nobody read or report for a while, then read."""
    await read(fleet)
    fleet.wait(ms)
    await read(fleet)


@pytest.mark.parametrize("outage_ms", [10_000, OUTAGE_MS, 3_600_000])
async def test_an_sfu_has_as_long_as_ever_to_report_after_an_outage(fleet: Fleet, outage_ms: int) -> None:
    await fleet.beat()
    await fleet.place("kept")
    fleet.wait(9_000)
    await outlive_an_outage(fleet, outage_ms)
    await live(fleet, THRESHOLD_MS - 9_000 - 1_000)
    assert await fleet.registry.sweeps.expire() == Sweep(0, has_more=False)
    assert await fleet.state() == "selectable"
    assert (await fleet.select("kept")).reason == "sticky"
    assert (await fleet.select("new")).address == A
    await live(fleet, 1_000)
    assert await fleet.state() == "expired"
    assert (await fleet.registry.sweeps.expire()).addresses == (A,)


async def test_a_sweeper_that_is_first_after_an_outage_ends_nothing(fleet: Fleet) -> None:
    await fleet.beat()
    await read(fleet)
    fleet.wait(3_600_000)
    assert (await fleet.registry.sweeps.expire()).count == 0
    await read(fleet)
    assert (await fleet.registry.sweeps.expire()).count == 0
    await live(fleet, THRESHOLD_MS)
    assert (await fleet.registry.sweeps.expire()).count == 1


async def test_an_sfu_that_reported_after_an_outage_is_down_by_its_own_silence(fleet: Fleet) -> None:
    await fleet.beat()
    await outlive_an_outage(fleet)
    await fleet.beat()
    await live(fleet, THRESHOLD_MS - 1_000)
    assert (await fleet.registry.sweeps.expire()).count == 0
    await live(fleet, 1_000)
    assert (await fleet.registry.sweeps.expire()).count == 1


async def test_outages_that_follow_each_other_count_as_one(fleet: Fleet) -> None:
    await fleet.beat()
    for _ in range(5):
        await outlive_an_outage(fleet, 25_000)
        fleet.wait(1_000)
    await read(fleet)
    assert (await fleet.registry.sweeps.expire()).count == 0
    assert await fleet.state() == "selectable"


async def test_a_slow_reading_is_no_outage(fleet: Fleet) -> None:
    await fleet.beat()
    for _ in range(6):
        await read(fleet)
        fleet.wait(THRESHOLD_MS // 6)
    assert (await fleet.registry.sweeps.expire()).count == 1


async def test_most_of_a_fleet_is_not_held_silent_after_an_outage(fleet: Fleet) -> None:
    for number in range(5):
        await fleet.beat(f"http://{number}.test:8070")
    await outlive_an_outage(fleet, 300_000)
    assert not await read(fleet)
    assert await fleet.registry.rescues.find_suspects() == []


async def test_an_address_stays_its_owners_through_an_outage(fleet: Fleet) -> None:
    await fleet.beat(B)
    await outlive_an_outage(fleet, 3_600_000)
    with pytest.raises(AddressLeased):
        await fleet.beat(B, key=OTHER_KEY)
