"""The last hour of each SFU: what is kept, what is a gap, what is forgotten."""

import tracemalloc
from dataclasses import replace

import pytest

from app.dashboard import history
from app.dashboard.history import SAMPLES, STEP_S, History
from tests.support.sfus import SFU


class Clock:
    """Seconds, set by hand."""

    def __init__(self) -> None:
        self.now = 100_000.0

    def __call__(self) -> float:
        return self.now

    def step(self, count: int = 1) -> None:
        """Let `count` sampling steps pass."""
        self.now += count * STEP_S


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until it is told otherwise."""
    return Clock()


@pytest.fixture
def past(clock: Clock) -> History:
    """A history that is given its samples by hand."""
    return History(clock)


def test_a_series_is_an_hour_long_and_ends_now(past: History, clock: Clock) -> None:
    past.take([SFU])
    clock.step()
    past.take([replace(SFU, load=0.5, sessions=80, channels=9)])
    series = past.of(SFU.address)
    assert len(series.load) == len(series.sessions) == len(series.channels) == SAMPLES
    assert SAMPLES * STEP_S == 3600
    assert series.load[-3:] == (None, 0.25, 0.5)
    assert series.sessions[-2:] == (40, 80)
    assert series.channels[-2:] == (8, 9)


def test_an_unknown_sfu_has_no_past(past: History) -> None:
    assert set(past.of("http://nobody").load) == {None}


def test_time_without_samples_is_a_gap(past: History, clock: Clock) -> None:
    past.take([SFU])
    clock.step(3)
    past.take([SFU])
    assert past.of(SFU.address).load[-5:] == (None, 0.25, None, None, 0.25)


def test_values_of_the_hour_before_never_come_back(past: History, clock: Clock) -> None:
    for _ in range(SAMPLES):
        past.take([SFU])
        clock.step()
    clock.step(SAMPLES // 2)
    past.take([SFU])
    load = past.of(SFU.address).load
    assert load[-1] == 0.25
    assert set(load[-SAMPLES // 2 : -1]) == {None}


def test_a_long_pause_leaves_nothing_but_the_newest_value(past: History, clock: Clock) -> None:
    past.take([SFU])
    clock.step(10 * SAMPLES)
    past.take([SFU])
    assert past.of(SFU.address).load == (None,) * (SAMPLES - 1) + (0.25,)


async def test_the_dead_have_a_gap_and_are_forgotten_after_an_hour(past: History, clock: Clock) -> None:
    past.take([SFU])
    clock.step()
    past.take([replace(SFU, state="lost", load=0.0)])
    assert past.of(SFU.address).load[-2:] == (0.25, None)
    clock.step(SAMPLES)
    await past.finish()
    assert set(past.of(SFU.address).load) == {None}


def test_memory_is_bounded_by_the_number_of_sfus(past: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_SFUS", 2)
    past.take([replace(SFU, address=f"http://sfu{number}:8070") for number in range(3)])
    known = [past.of(f"http://sfu{number}:8070").load[-1] for number in range(3)]
    assert known == [0.25, 0.25, None]


def test_of_one_step_the_last_figures_stay(past: History) -> None:
    past.take([SFU])
    past.take([replace(SFU, sessions=41), replace(SFU, address="http://sfu2:8070", sessions=7)])
    assert past.of(SFU.address).sessions[-2:] == (None, 41)
    assert past.of("http://sfu2:8070").sessions[-2:] == (None, 7)


async def test_a_new_sfu_in_the_place_of_a_forgotten_one_has_only_its_own_past(
    past: History, clock: Clock
) -> None:
    past.take([SFU])
    clock.step(SAMPLES)
    await past.finish()
    past.take([replace(SFU, address="http://sfu2:8070", load=0.5)])
    assert past.of("http://sfu2:8070").load == (None,) * (SAMPLES - 1) + (0.5,)
    assert set(past.of(SFU.address).load) == {None}


@pytest.mark.parametrize(
    ("load", "sessions", "shown"), [(0.12344, 65_534, (0.1234, 65_534)), (7.0, 70_000, (6.5534, 65_534))]
)
def test_loads_have_four_digits_and_figures_an_upper_bound(
    past: History, load: float, sessions: int, shown: tuple[float, int]
) -> None:
    past.take([replace(SFU, load=load, sessions=sessions)])
    series = past.of(SFU.address)
    assert (series.load[-1], series.sessions[-1]) == shown


def test_an_hour_of_a_large_fleet_takes_360_bytes_for_each(past: History, clock: Clock) -> None:
    fleet = [replace(SFU, address=f"http://sfu{number}:8070") for number in range(500)]
    past.take(fleet)
    tracemalloc.start()
    try:
        for _ in range(SAMPLES):
            clock.step()
            past.take(fleet)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 360 <= held / len(fleet) < 360 * 1.2
