"""The one reading of the fleet. The snapshot, `/v1/health`, the dashboard, its history and the metrics follow it.

The replica reads each second, or earlier when somebody looks. A small fleet is read whole each time. Of a large one
a reading has the SFUs that transitions name, so that membership is at most one reading old, and a part of the others,
so that figures are at most a pass old. The part is larger while somebody looks.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from app.registry.sfus import SfuStatus
from app.registry.snapshot import Snapshot

_LARGEST_PAGE: Final = 200
"""More would hold up Redis for too long."""
_PART: Final = 100
_READINGS_PER_PASS: Final = 60
_PART_WATCHED: Final = 500
_READINGS_PER_PASS_WATCHED: Final = 20
_WATCHED_S: Final = 15.0
"""Longer than the longest pause between two looks of a page."""
_MOST_PAGES_OF_EVENTS: Final = 50


@dataclass(frozen=True, slots=True)
class FleetPage:
    """One reply of read_fleet.lua."""

    epoch: str
    began_at: str
    is_held: bool
    sessions_per_channel: float
    at_ms: int
    cursor: str
    """The address after which the next page begins; empty after the last page of a pass."""
    event_id: str
    """The newest transition that the page includes."""
    has_more_events: bool
    rows: Sequence[list[Any]]
    """Each describes an SFU: `SfuStatus.of`."""
    absent: Sequence[str]
    """Addresses that the registry does not know."""

    def sfus(self) -> list[SfuStatus]:
        """Return the SFUs that the rows describe."""
        return [SfuStatus.of(row, self.at_ms) for row in self.rows]


class ReadPage(Protocol):
    """Reads one page: after which address, how many SFUs, after which transition, which SFUs besides."""

    def __call__(
        self, after: str, count: int, after_event: str, besides: Sequence[str], /
    ) -> Awaitable[FleetPage]:
        """Return the page. Raises `RegistryUnavailable`."""


class FleetReader:
    """Reads the fleet: whole, or what changed and a part of the rest.

    The first reading is whole. Pages follow the order of addresses, so a pass never misses an SFU that is registered
    all the time.
    """

    def __init__(self, page: ReadPage, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds."""
        self._page = page
        self._clock = clock
        self._nodes: dict[str, SfuStatus] = {}
        self._others: dict[str, SfuStatus] = {}
        self._began_at = ""
        self._seen: set[str] = set()
        self._cursor = ""
        self._event_id = ""
        self._wanted: set[str] = set()
        self._watched_until = float("-inf")

    def watch(self) -> None:
        """Somebody looks at the fleet: figures of a large one are to be newer for a while."""
        self._watched_until = self._clock() + _WATCHED_S

    def want(self, *addresses: str) -> None:
        """Include SFUs in the next reading, whether or not a transition names them."""
        self._wanted.update(addresses)

    async def read(self, *, is_full: bool = False) -> Snapshot:
        """Return the fleet as it is now. Raises `RegistryUnavailable`; the next reading is whole then."""
        is_full = is_full or not self._event_id
        event_id, self._event_id = self._event_id, ""
        if not is_full:
            page = await self._read_changes(event_id)
            is_full = page.began_at != self._began_at
        if is_full:
            page = await self._read_whole()
        self._event_id, self._began_at = page.event_id, page.began_at
        return Snapshot(
            tuple(self._nodes.values()),
            page.sessions_per_channel,
            page.epoch,
            page.began_at,
            page.is_held,
            page.at_ms,
            tuple(self._others.values()),
        )

    async def _read_whole(self) -> FleetPage:
        self._seen.clear()
        page = first = await self._take("", _LARGEST_PAGE, "")
        while page.cursor:
            page = await self._take(page.cursor, _LARGEST_PAGE, "")
        return first if first.began_at == page.began_at else page

    async def _read_changes(self, event_id: str) -> FleetPage:
        part = self._part()
        page = await self._take(self._cursor, min(part, _LARGEST_PAGE), event_id)
        read = len(page.rows)
        for _ in range(_MOST_PAGES_OF_EVENTS):
            if read >= min(part, self._size) and not page.has_more_events:
                break
            page = await self._take(self._cursor, min(max(1, part - read), _LARGEST_PAGE), page.event_id)
            read += len(page.rows)
        return page

    @property
    def _size(self) -> int:
        return len(self._nodes) + len(self._others)

    def _part(self) -> int:
        """How many SFUs to read besides those that changed."""
        if self._clock() < self._watched_until:
            return max(_PART_WATCHED, self._size // _READINGS_PER_PASS_WATCHED)
        return max(_PART, self._size // _READINGS_PER_PASS)

    async def _take(self, cursor: str, count: int, event_id: str) -> FleetPage:
        wanted, self._wanted = self._wanted, set()
        page = await self._page(cursor, count, event_id, tuple(wanted))
        for row in page.rows:
            self._keep(row, page.at_ms)
        for address in page.absent:
            self._drop(address)
        self._cursor = page.cursor
        if not page.cursor:
            for address in (self._nodes.keys() | self._others.keys()) - self._seen:
                self._drop(address)  # forgotten without a transition
            self._seen.clear()
        return page

    def _keep(self, row: list[Any], at_ms: int) -> None:
        former = self._nodes.get(row[0]) or self._others.get(row[0])
        if former is not None:
            row[0] = former.address  # one text for all who hold it, to save memory
        sfu = SfuStatus.of(row, at_ms)
        self._seen.add(sfu.address)
        kept, left = (self._nodes, self._others) if sfu.eligibility else (self._others, self._nodes)
        kept[sfu.address] = sfu
        left.pop(sfu.address, None)

    def _drop(self, address: str) -> None:
        self._nodes.pop(address, None)
        self._others.pop(address, None)
