"""heartbeat.lua: sessions per channel, learned from what SFUs report: it orders, the setting admits."""

import math
from collections.abc import Callable

import pytest

from tests.lua.fleet import A, B, Fleet


async def per_channel(fleet: Fleet) -> float:
    """The figure by which SFUs are compared: what one promised channel adds to an effective load."""
    address = "http://probe.test"
    await fleet.beat(address, max_sessions=1_000_000, cpu=0, memory=0, is_fresh=False)
    placed = await fleet.select("probe", exclude=(A, B), id=f"probe {fleet.now_ms}")
    assert placed.address == address
    status = await fleet.registry.fleet.describe(address)
    await fleet.report("unblamed", address, "probe", id=f"probe {fleet.now_ms}")
    await fleet.registry.fleet.forget(address)
    return status.effective_load * status.max_sessions


async def test_sessions_per_channel_are_a_moving_average(fleet: Fleet) -> None:
    await fleet.beat(A, channels=100, sessions=300)
    assert await per_channel(fleet) == 4
    await fleet.beat(A, channels=100, sessions=300)
    assert await per_channel(fleet) == pytest.approx(3.5)


async def test_empty_channels_do_not_teach_less_than_the_floor(fleet: Fleet) -> None:
    await fleet.beat()
    for _ in range(50):
        await fleet.beat(A, channels=1_000)
    assert await per_channel(fleet) == pytest.approx(2)


async def test_young_channels_teach_nothing_yet(fleet: Fleet) -> None:
    await fleet.beat()
    for number in range(10):
        await fleet.place(f"{number}")
    await fleet.beat(A, channels=10)
    assert await per_channel(fleet) == 4


async def test_half_joined_channels_teach_what_they_will_have(fleet: Fleet) -> None:
    await fleet.beat()
    for number in range(100):
        await fleet.place(f"{number}")
    fleet.wait(15_000)
    joined = 1 - math.exp(-1)
    await fleet.beat(A, channels=100, sessions=round(100 * 6 * joined))
    weight = 100 * joined / (100 * joined + 100)
    assert await per_channel(fleet) == pytest.approx(4 + 2 * weight, abs=0.01)


async def test_figures_that_are_not_fresh_teach_nothing(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.beat(A, channels=100, sessions=1_000, is_fresh=False)
    assert await per_channel(fleet) == 4


async def test_what_was_learned_fades_back_to_the_setting(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(heartbeat_burst=10_000)
    await fleet.beat(A)
    for _ in range(100):
        await fleet.beat(A, channels=100, sessions=1_000)
    assert await per_channel(fleet) > 9
    fleet.wait(8 * 3_600_000)
    assert await per_channel(fleet) == pytest.approx(4, abs=0.01)


async def test_a_false_report_teaches_a_small_multiple_of_the_setting_at_most(
    make_fleet: Callable[..., Fleet],
) -> None:
    fleet = make_fleet(heartbeat_burst=10_000)
    await fleet.beat(A)
    for _ in range(1_000):
        await fleet.beat(A, channels=1, sessions=10**9)
    assert await per_channel(fleet) <= 16


async def test_what_was_learned_makes_no_idle_sfu_full(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(heartbeat_burst=10_000)
    await fleet.beat(A, max_sessions=100)
    for _ in range(1_000):
        await fleet.beat(A, max_sessions=100, channels=1, sessions=60)
    await fleet.beat(A, max_sessions=100)
    for number in range(20):
        assert (await fleet.place(f"{number}")).address == A
