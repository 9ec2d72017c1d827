"""heartbeat.lua: sessions per channel and the join time, learned from what SFUs report."""

import math

import pytest
from redis.asyncio import Redis

from tests.lua.fleet import A, Fleet


async def per_channel(fleet: Fleet) -> float:
    return (await fleet.registry.snapshot()).sessions_per_channel


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


async def test_the_join_time_is_learned_from_arrivals(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat()
    for number in range(5):
        await fleet.place(f"{number}")
    fleet.wait(10_000)
    await fleet.beat(A, channels=5, sessions=10)
    sample, expected = 5_000 / math.log(2), 20
    learned = float(await redis.hget(fleet.keys.fleet, "join_ms") or 0)
    assert learned == pytest.approx(15_000 + (sample - 15_000) * expected / (expected + 500))
