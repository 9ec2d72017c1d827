"""The last hour of each SFU: what is kept, what is a gap, what is forgotten."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from app import history
from app.errors import StoreUnavailable
from app.history import SAMPLES, STEP_S, History
from app.sfus import SfuStatus
from tests.support.waiting import eventually

SFU = SfuStatus(
    address="http://sfu1:8070",
    region="eu-west",
    state="up",
    standing="selectable",
    breaker="closed",
    generation=1,
    heartbeat_age_ms=0,
    load=0.25,
    sessions=40,
    channels=8,
)


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

    async def nobody() -> Sequence[SfuStatus]:
        return ()

    return History(nobody, clock)


def test_a_series_is_an_hour_long_and_ends_now(past: History, clock: Clock) -> None:
    past.record([SFU])
    clock.step()
    past.record([replace(SFU, load=0.5, sessions=80, channels=9)])
    series = past.of(SFU.address)
    assert len(series.load) == len(series.sessions) == len(series.channels) == SAMPLES
    assert SAMPLES * STEP_S == 3600
    assert series.load[-3:] == (None, 0.25, 0.5)
    assert series.sessions[-2:] == (40, 80)
    assert series.channels[-2:] == (8, 9)


def test_an_unknown_sfu_has_no_past(past: History) -> None:
    assert set(past.of("http://nobody").load) == {None}


def test_time_without_samples_is_a_gap(past: History, clock: Clock) -> None:
    past.record([SFU])
    clock.step(3)
    past.record([SFU])
    assert past.of(SFU.address).load[-5:] == (None, 0.25, None, None, 0.25)


def test_values_of_the_hour_before_never_come_back(past: History, clock: Clock) -> None:
    for _ in range(SAMPLES):
        past.record([SFU])
        clock.step()
    clock.step(SAMPLES // 2)
    past.record([SFU])
    load = past.of(SFU.address).load
    assert load[-1] == 0.25
    assert set(load[-SAMPLES // 2 : -1]) == {None}


def test_a_long_pause_leaves_nothing_but_the_newest_value(past: History, clock: Clock) -> None:
    past.record([SFU])
    clock.step(10 * SAMPLES)
    past.record([SFU])
    assert past.of(SFU.address).load == (None,) * (SAMPLES - 1) + (0.25,)


def test_the_dead_have_a_gap_and_are_forgotten_after_an_hour(past: History, clock: Clock) -> None:
    past.record([SFU])
    clock.step()
    past.record([replace(SFU, state="down", load=0.0)])
    assert past.of(SFU.address).load[-2:] == (0.25, None)
    clock.step(SAMPLES)
    past.forget_the_dead()
    assert set(past.of(SFU.address).load) == {None}


def test_memory_is_bounded_by_the_number_of_sfus(past: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_SFUS", 2)
    past.record([replace(SFU, address=f"http://sfu{number}:8070") for number in range(3)])
    known = [past.of(f"http://sfu{number}:8070").load[-1] for number in range(3)]
    assert known == [0.25, 0.25, None]


async def test_a_store_that_is_away_leaves_a_gap_and_stops_nothing(clock: Clock) -> None:
    is_away = iter([False, True, False])

    async def read() -> Sequence[SfuStatus]:
        if next(is_away):
            raise StoreUnavailable("away")
        return [SFU]

    past = History(read, clock)
    for _ in range(3):
        await past.sample()
        clock.step()
    assert past.of(SFU.address).load[-4:] == (0.25, None, 0.25, None)


async def test_it_samples_from_the_start_while_it_runs(clock: Clock) -> None:
    async def read() -> Sequence[SfuStatus]:
        return [SFU]

    past = History(read, clock)
    async with past.running():
        await eventually(lambda: past.of(SFU.address).load[-1] == 0.25)
