"""Each SFU's last hour, for the dashboard's plots: sampled from the registry, kept in this replica's memory.

Of each minute the last figures that were read stay, in one row of 16-bit numbers for all SFUs: 6 bytes per SFU
and minute, 360 bytes an hour. At most 10,000 SFUs are kept: 3.6 MB, plus about 1.5 MB for their addresses, is the
bound. Replicas sample for themselves, so each knows the time since its own start.
"""

import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from app.registry.sfus import SfuStatus

STEP_S: Final = 60
SAMPLES: Final = 3600 // STEP_S
MOST_SFUS: Final = 10_000

_UNKNOWN: Final = 0xFFFF
_MOST: Final = 0xFFFE
"""What larger figures are cut to: 65,534 sessions, or a load of 6.5534."""

_LOAD_UNIT: Final = 10_000
_FIGURES: Final = 3
_NOTHING: Final = array("H", [_UNKNOWN]) * _FIGURES


@dataclass(frozen=True, slots=True)
class Series:
    """One SFU's past, oldest first, one value per step; `None` where it was not known or not alive."""

    load: tuple[float | None, ...]
    sessions: tuple[float | None, ...]
    channels: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    """One step of all SFUs: load, sessions and channels of each, by place. It ends with the last that was known."""

    step: int
    figures: "array[int]" = field(default_factory=lambda: array("H"))

    def write(self, place: int, sfu: SfuStatus) -> None:
        start = place * _FIGURES
        missing = place + 1 - len(self.figures) // _FIGURES
        self.figures.extend(_NOTHING * missing)
        load = round(sfu.load * _LOAD_UNIT)
        self.figures[start : start + _FIGURES] = array("H", map(_stored, (load, sfu.sessions, sfu.channels)))

    def read(self, place: int) -> "array[int]":
        start = place * _FIGURES
        return self.figures[start : start + _FIGURES] or _NOTHING


class History:
    """What each SFU's load, sessions and channels were during the last hour. Follows a `KnownFleet`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds."""
        self._clock = clock
        self._places: dict[str, int] = {}
        self._free_places: list[int] = []
        self._seen = array("q")
        """By place: the step in which it was last written."""
        self._rows: deque[_Row] = deque()

    def begin(self) -> None:
        """Nothing: each SFU counts by itself."""

    def take(self, sfus: Iterable[SfuStatus]) -> None:
        """Remember the figures of those that live."""
        row = self._row_of(self._step())
        for sfu in sfus:
            place = self._place_of(sfu.address) if sfu.is_living else None
            if place is not None:
                self._seen[place] = row.step
                row.write(place, sfu)

    async def finish(self) -> None:
        """Drop steps older than an hour, and SFUs without a newer sample."""
        oldest = self._step() - SAMPLES + 1
        while self._rows and self._rows[0].step < oldest:
            self._rows.popleft()
        for address, place in [*self._places.items()]:
            if self._seen[place] < oldest:
                del self._places[address]
                self._free_places.append(place)

    def _row_of(self, step: int) -> _Row:
        if not self._rows or self._rows[-1].step != step:
            self._rows.append(_Row(step))
        return self._rows[-1]

    def _place_of(self, address: str) -> int | None:
        """The place of an SFU in each row, a new one if need be; `None` when there are too many."""
        if address not in self._places:
            if len(self._places) >= MOST_SFUS:
                return None
            if not self._free_places:
                self._free_places.append(len(self._seen))
                self._seen.append(0)
            self._places[address] = self._free_places.pop()
        return self._places[address]

    def of(self, address: str) -> Series:
        """Return one SFU's last hour; only `None` for an SFU without samples."""
        place, newest = self._places.get(address), self._step()
        if place is None:
            nothing = (None,) * SAMPLES
            return Series(nothing, nothing, nothing)
        rows = {row.step: row for row in self._rows}
        steps = range(newest - SAMPLES + 1, newest + 1)
        figures = [rows[step].read(place) if step in rows else _NOTHING for step in steps]
        load, sessions, channels = (tuple(map(_shown, column)) for column in zip(*figures, strict=True))
        return Series(tuple(None if each is None else each / _LOAD_UNIT for each in load), sessions, channels)

    def _step(self) -> int:
        return int(self._clock() // STEP_S)


def _stored(figure: int) -> int:
    return min(max(figure, 0), _MOST)


def _shown(stored: int) -> int | None:
    return None if stored == _UNKNOWN else stored
