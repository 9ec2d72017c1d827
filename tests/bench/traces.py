"""What happens to a fleet, whoever places its channels: SFUs, calls, and who joins them when.

A trace is made before it is run, so every strategy meets the very same calls. Times in ms from the start.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

REPORT_EVERY_MS: Final = 10_000
JOIN_WITHIN_MS: Final = 20_000
CAPACITY: Final = 1_000
"""Sessions an SFU can take; the large ones of a mixed fleet take twice as many."""

CHANNELS_PER_SFU: Final = 40
"""Calls at a time on an SFU of `CAPACITY`, on average."""

WARM_MS: Final = 600_000
FLASH_MS: Final = 10_000

_CALL_MS: Final = 600_000
_SHORTEST_CALL_MS: Final = 30_000
_CALL_SIGMA: Final = 1.0
PEOPLE: Final = 5.25
"""People in a call, on average: the mean of `_size`."""

_PEOPLE: Final = 5.0
_PEOPLE_SIGMA: Final = 1.0
_FEWEST: Final = 2
_MOST: Final = 100
_FIRST_WITHIN_MS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Scenario:
    """A kind of fleet and what befalls it after the warm-up."""

    name: str
    sfus: int
    is_mixed: bool = False
    """Every other SFU has double capacity."""
    flash: float = 1.0
    """By how much the rate of new calls is multiplied for `FLASH_MS`."""
    has_newcomer: bool = False
    """One more SFU joins, empty."""
    measured_ms: int = 600_000


@dataclass(frozen=True, slots=True)
class Sfu:
    """One SFU of a trace."""

    address: str
    capacity: int
    first_report_ms: int


@dataclass(frozen=True, slots=True)
class Call:
    """One channel: asked for at `at_ms`, its people come at `joins_ms`, and at `end_ms` all of them leave."""

    at_ms: int
    joins_ms: tuple[int, ...]
    end_ms: int

    @property
    def size(self) -> int:
        """People who come before it ends."""
        return len(self.joins_ms)


@dataclass(frozen=True, slots=True)
class Trace:
    """All that happens."""

    scenario: Scenario
    sfus: tuple[Sfu, ...]
    running: tuple[Call, ...]
    """Calls that are under way at the start, dealt out in turn; so a short warm-up is enough."""
    calls: tuple[Call, ...]
    """Calls to place, by time."""
    end_ms: int


def make_trace(scenario: Scenario, seed: int) -> Trace:
    """Draw a trace; the same `seed` gives the same one."""
    rng = random.Random(f"{scenario.name}-{seed}")
    end_ms = WARM_MS + scenario.measured_ms
    sfus = tuple(_sfus(scenario, rng))
    at_once = sum(sfu.capacity for sfu in sfus[: scenario.sfus]) * CHANNELS_PER_SFU // CAPACITY
    running = tuple(_running(at_once, rng))
    calls = tuple(_calls(scenario, at_once / _CALL_MS, end_ms, rng))
    return Trace(scenario, sfus, running, calls, end_ms)


def _sfus(scenario: Scenario, rng: random.Random) -> Iterator[Sfu]:
    for number in range(scenario.sfus):
        capacity = CAPACITY * (1 + number % 2) if scenario.is_mixed else CAPACITY
        yield Sfu(_address(number), capacity, rng.randrange(REPORT_EVERY_MS))
    if scenario.has_newcomer:
        yield Sfu(_address(scenario.sfus), CAPACITY, WARM_MS)


def _address(number: int) -> str:
    return f"http://10.0.{number >> 8}.{number & 255}:8070"


def _running(count: int, rng: random.Random) -> Iterator[Call]:
    """Calls that all their people have joined. The longer a call, the likelier it is to be found under way."""
    lengths = [_length_ms(rng) for _ in range(10 * count)]
    for length in rng.choices(lengths, weights=lengths, k=count):
        yield Call(0, (0,) * _size(rng), int(length * rng.random()))


def _calls(scenario: Scenario, per_ms: float, end_ms: int, rng: random.Random) -> Iterator[Call]:
    """Calls at random times (Poisson), from when every SFU has reported."""
    now = float(REPORT_EVERY_MS)
    while now < end_ms:
        is_flash = WARM_MS <= now < WARM_MS + FLASH_MS
        now += rng.expovariate(per_ms * (scenario.flash if is_flash else 1.0))
        yield _call(int(now), rng)


def _call(at_ms: int, rng: random.Random) -> Call:
    first = rng.randrange(_FIRST_WITHIN_MS)
    others = [rng.randrange(JOIN_WITHIN_MS) for _ in range(_size(rng) - 1)]
    joins = tuple(at_ms + join for join in sorted([first, *others]))
    return Call(at_ms, joins, at_ms + max(_SHORTEST_CALL_MS, _length_ms(rng)))


def _size(rng: random.Random) -> int:
    """People in a call: heavy tail (lognormal), from 2 to 100."""
    size = rng.lognormvariate(math.log(_PEOPLE) - _PEOPLE_SIGMA**2 / 2, _PEOPLE_SIGMA)
    return min(_MOST, max(_FEWEST, round(size)))


def _length_ms(rng: random.Random) -> int:
    return int(rng.lognormvariate(math.log(_CALL_MS) - _CALL_SIGMA**2 / 2, _CALL_SIGMA))
