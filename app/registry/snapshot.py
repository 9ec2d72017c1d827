"""The living fleet as this replica last read it. It places channels while Redis is away.

The replica reads the snapshot in the background, never during a request. The snapshot does not change while Redis
does not answer, and while most SFUs are silent at once.
"""

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

from app.states import State

Eligibility = Literal["selectable", "sticky-only", "last-resort"]
"""`sticky-only`: the SFU keeps its calls and takes no others (draining, full, overloaded). `last-resort`: the SFU is
ejected, and is asked when no other SFU is left.
"""

_PAGE: Final = 100
_LARGEST_PAGE: Final = 200
_READINGS_PER_PASS: Final = 60
_MOST_PAGES_OF_EVENTS: Final = 50


@dataclass(frozen=True, slots=True)
class SnapshotNode:
    """One living SFU."""

    address: str
    region: str
    sealed_key: str
    public_url: str
    load: float
    sessions: float
    """Reported and reserved sessions."""
    max_sessions: float
    eligibility: Eligibility = "selectable"
    generation: int = 0
    """The SFU's registration; 0 when it is unknown. A new generation means that the SFU lost its calls."""
    state: State = "selectable"
    """As the registry derives it."""


def node_of(row: Sequence[Any], former: SnapshotNode | None = None) -> SnapshotNode:
    """Return the SFU that a row of snapshot.lua describes; `former` is the same SFU in the snapshot before.

    Returns `former` itself when nothing has changed. Else the new node shares equal texts with it, to save memory.
    """
    address, region, sealed_key, public_url, load, sessions, max_sessions, eligibility, generation, state = (
        row
    )
    if former is not None:
        address = former.address
        sealed_key, public_url = _same(former.sealed_key, sealed_key), _same(former.public_url, public_url)
    node = SnapshotNode(
        address,
        sys.intern(region),
        sealed_key,
        public_url,
        float(load),
        float(sessions),
        float(max_sessions),
        sys.intern(eligibility),  # type: ignore[arg-type]
        int(generation),
        sys.intern(state),  # type: ignore[arg-type]
    )
    return former if former is not None and former == node else node


def _same(former: str, fresh: str) -> str:
    return former if former == fresh else fresh


@dataclass(frozen=True)
class Snapshot:
    """The living fleet at one moment."""

    nodes: tuple[SnapshotNode, ...] = ()
    sessions_per_channel: float = 1.0
    epoch: str = ""
    """Changes when SFUs come, go or register anew. Empty while the registry is empty."""
    began_at: str = ""
    """When the registry's data began. A change means that Redis lost its data."""
    is_held: bool = False
    """Whether most of the fleet fell silent at once. The replica does not use the registry then."""
    at_ms: int = 0
    """The time of the reading by Redis' clock; 0 for a snapshot that does not come from Redis."""

    @property
    def addresses(self) -> frozenset[str]:
        """Addresses of all nodes."""
        return frozenset(node.address for node in self.nodes)

    @cached_property
    def regions(self) -> frozenset[str]:
        """Regions with at least one selectable SFU."""
        return frozenset(node.region for node in self.nodes if node.eligibility == "selectable")


def beginning_of(epoch: str) -> str:
    """Return when the data of `epoch` began."""
    return epoch.partition("-")[0]


EMPTY_SNAPSHOT: Final = Snapshot()
"""The snapshot of a replica that has not read the fleet yet."""


@dataclass(frozen=True, slots=True)
class SnapshotPage:
    """One reply of snapshot.lua."""

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
    rows: Sequence[Sequence[Any]]
    absent: Sequence[str]
    """Addresses that do not belong into a snapshot: the SFU is down or drained."""


class SnapshotReader:
    """Reads the fleet for a snapshot: whole, or what changed.

    The first reading is whole. Each later reading reads the SFUs that transitions name, so that membership is at most
    one reading old, and a part of the others, so that figures are at most a pass of 60 readings old. Pages follow
    the order of addresses, so a pass never misses an SFU that is registered all the time.
    """

    def __init__(self, page: Callable[[str, int, str], Awaitable[SnapshotPage]]) -> None:
        """`page` reads one page: after which address, how many SFUs, and after which transition."""
        self._page = page
        self._nodes: dict[str, SnapshotNode] = {}
        self._snapshot = EMPTY_SNAPSHOT
        self._seen: set[str] = set()
        self._cursor = ""
        self._event_id = ""
        self._is_changed = False

    async def read(self, *, is_full: bool = False) -> Snapshot:
        """Return the fleet as it is now. Raises `RegistryUnavailable`; the next reading is whole then."""
        is_full = is_full or not self._event_id
        event_id, self._event_id = self._event_id, ""
        if not is_full:
            page = await self._read_changes(event_id)
            is_full = page.began_at != self._snapshot.began_at
        if is_full:
            page = await self._read_whole()
        nodes = tuple(self._nodes.values()) if self._is_changed else self._snapshot.nodes
        self._is_changed = False
        self._event_id = page.event_id
        self._snapshot = Snapshot(
            nodes, page.sessions_per_channel, page.epoch, page.began_at, page.is_held, page.at_ms
        )
        return self._snapshot

    async def _read_whole(self) -> SnapshotPage:
        self._seen.clear()
        page = first = await self._take("", _PAGE, "")
        while page.cursor:
            page = await self._take(page.cursor, _PAGE, "")
        return first if first.began_at == page.began_at else page

    async def _read_changes(self, event_id: str) -> SnapshotPage:
        left = max(_PAGE, len(self._nodes) // _READINGS_PER_PASS)
        page = await self._take(self._cursor, min(left, _LARGEST_PAGE), event_id)
        left -= _LARGEST_PAGE
        for _ in range(_MOST_PAGES_OF_EVENTS):
            if left <= 0 and not page.has_more_events:
                break
            page = await self._take(self._cursor, min(max(1, left), _LARGEST_PAGE), page.event_id)
            left -= _LARGEST_PAGE
        return page

    async def _take(self, cursor: str, count: int, event_id: str) -> SnapshotPage:
        page = await self._page(cursor, count, event_id)
        for row in page.rows:
            former = self._nodes.get(row[0])
            node = node_of(row, former)
            self._seen.add(node.address)
            if node is not former:
                self._nodes[node.address] = node
                self._is_changed = True
        for address in page.absent:
            self._drop(address)
        self._cursor = page.cursor
        if not page.cursor:
            for address in self._nodes.keys() - self._seen:  # forgotten without a transition
                self._drop(address)
            self._seen.clear()
        return page

    def _drop(self, address: str) -> None:
        self._is_changed |= self._nodes.pop(address, None) is not None
