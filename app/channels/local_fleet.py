"""The SFUs on which a replica places channels without Redis: those of the snapshot, in tables.

An SFU is in one table at most: open or last resort. A full one is in none. The replica keeps for itself what cannot
be shared meanwhile: failures and reservations.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from app.channels.placement_table import Entry, PlacementTable
from app.registry.placements import CallId
from app.registry.sfus import SfuStatus
from app.registry.snapshot import Snapshot

_MARK_DOWN_S: Final = 10.0
_MOST_RESERVED: Final = 50_000
_MANY: Final = 200
"""SFUs that come at once: more than these are hashed in a thread, about 50 us each."""
_PORTION: Final = 1_000
"""SFUs whose points are sorted at once."""


class LocalFleet:
    """The snapshot's SFUs as this replica sees them; `follow` brings the tables up to date."""

    def __init__(self, snapshot: Callable[[], Snapshot], now: Callable[[], float]) -> None:
        """`now` is in seconds."""
        self.nodes: dict[str, SfuStatus] = {}
        self.open = PlacementTable()
        """The SFUs that take new channels."""
        self.last_resort = PlacementTable()
        """The SFUs that are ejected or have failed here."""
        self._snapshot = snapshot
        self._now = now
        self._followed: Sequence[SfuStatus] = ()
        self._down_until: dict[str, float] = {}
        """In the order of their end: each mark lasts equally long."""
        self._placed: Counter[str] = Counter()
        self._reserved: OrderedDict[CallId, str] = OrderedDict()
        self._full: dict[str, str] = {}
        """Address to region."""

    async def prepare(self) -> None:
        """Make the tables of a new snapshot, so that no request has to. A large change is made in a thread."""
        snapshot = self._snapshot()
        has_no_marks = not (self._placed or self._down_until)
        if has_no_marks and len(snapshot.nodes) - len(self.nodes) > _MANY:
            tables = await asyncio.to_thread(_tables_of, snapshot.nodes)
            if snapshot.nodes is self._snapshot().nodes and not (self._placed or self._down_until):
                self._followed = snapshot.nodes
                self.nodes = {node.address: node for node in snapshot.nodes}
                self.open, self.last_resort, self._full = tables
        self.follow()

    def keeps_calls(self, node: SfuStatus) -> bool:
        """Whether an SFU keeps its calls; a full one does. They leave an ejected one as long as there is another."""
        return node.eligibility != "last-resort" and node.address not in self._down_until

    def has_full(self, regions: Collection[str] | None, tried: Collection[str]) -> bool:
        """Whether a full SFU is in the regions (`None`: anywhere) that was not tried."""
        return any(
            (regions is None or region in regions) and address not in tried
            for address, region in self._full.items()
        )

    # What this replica alone knows

    def reserve(self, call: CallId, address: str) -> None:
        """Count one channel more. An issuer that is placed again takes no second place."""
        if self._reserved.get(call) == address:
            return
        if call in self._reserved:
            self._return(call)
        self._reserved[call] = address
        if len(self._reserved) > _MOST_RESERVED:
            self._reserved.popitem(last=False)
        self._placed[address] += 1
        if self._is_full(self.nodes[address]):
            self._settle([address])

    def return_reservation(self, call: CallId, address: str) -> None:
        """Count one channel less, if the call has its reservation at `address`."""
        if self._reserved.get(call) == address:
            self._return(call)

    def _return(self, call: CallId) -> None:
        address = self._reserved.pop(call)
        self._placed[address] -= 1
        if address in self._full:
            self._settle([address])

    def mark_down(self, address: str) -> None:
        """Rank an SFU last for a while."""
        self._down_until.pop(address, None)
        self._down_until[address] = self._now() + _MARK_DOWN_S
        self._settle([address])

    def end_marks(self) -> None:
        """Forget the marks whose time is over."""
        if not self._down_until:
            return
        now, over = self._now(), []
        for address, until in self._down_until.items():
            if until > now:
                break
            over.append(address)
        for address in over:
            del self._down_until[address]
        self._settle(over)

    def forget_marks(self) -> None:
        """Forget reservations and failures: the registry is back."""
        marked = {*self._down_until, *self._full}
        self._placed.clear()
        self._reserved.clear()
        self._down_until.clear()
        self._settle(marked)

    # Tables

    def follow(self) -> None:
        """Bring the tables up to date with the snapshot: work for the SFUs that differ."""
        nodes = self._snapshot().nodes
        if nodes is self._followed:
            return
        former, self._followed = self._followed, nodes
        differ = [(old, new) for old, new in zip(former, nodes, strict=False) if old is not new]
        if len(former) == len(nodes) and all(old.address == new.address for old, new in differ):
            changed = {new.address: new for _, new in differ}  # the common case, and cheap for a large fleet
            self.nodes |= changed
            self._settle(changed)
            return
        gone, self.nodes = self.nodes, {node.address: node for node in nodes}
        self._settle([node.address for node in nodes if gone.pop(node.address, None) is not node])
        self._settle(gone)

    def _settle(self, addresses: Iterable[str]) -> None:
        """Put SFUs into the table they belong to now, and take them out of the others."""
        open_, last_resort = _Changes(), _Changes()
        for address in addresses:
            node = self.nodes.get(address)
            self._full.pop(address, None)
            is_down = address in self._down_until
            room = None if node is None else _room_of(node, is_down=is_down, is_full=self._is_full(node))
            if node is not None and room == "full":
                self._full[address] = node.region
            open_.note(address, node if room == "open" else None)
            last_resort.note(address, node if room == "last-resort" else None)
        self.open.update(open_.entries, open_.gone)
        self.last_resort.update(last_resort.entries, last_resort.gone)

    def _is_full(self, node: SfuStatus) -> bool:
        reserved = self._snapshot().sessions_per_channel * self._placed[node.address]
        return node.claimed + reserved >= node.max_sessions


@dataclass(slots=True)
class _Changes:
    """What one table has to take in and to let go."""

    entries: list[Entry] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    def note(self, address: str, node: SfuStatus | None) -> None:
        if node is None:
            self.gone.append(address)
        else:
            self.entries.append(Entry(address, node.region, _weight(node)))


def _tables_of(nodes: Iterable[SfuStatus]) -> tuple[PlacementTable, PlacementTable, dict[str, str]]:
    """Return the tables of SFUs on which nothing was placed since, and the regions of the full ones."""
    open_, last_resort, full = _Changes(), _Changes(), dict[str, str]()
    for node in nodes:
        room = _room_of(node, is_down=False, is_full=node.claimed >= node.max_sessions)
        if room == "open":
            open_.note(node.address, node)
        elif room == "last-resort":
            last_resort.note(node.address, node)
        elif room == "full":
            full[node.address] = node.region
    return _table_of(open_.entries), _table_of(last_resort.entries), full


def _table_of(entries: Sequence[Entry]) -> PlacementTable:
    """Return a table that was made in portions: points that are being sorted take five times their memory."""
    table = PlacementTable()
    for start in range(0, len(entries), _PORTION):
        table.update(entries[start : start + _PORTION])
    return table


def _room_of(
    node: SfuStatus, *, is_down: bool, is_full: bool
) -> Literal["open", "full", "last-resort"] | None:
    """Return the table that a node belongs to; `None` for a node that keeps its calls and takes no others."""
    if node.eligibility == "sticky-only":
        return None
    if is_full:
        return "full"
    return "last-resort" if is_down or node.eligibility == "last-resort" else "open"


def _weight(node: SfuStatus) -> float:
    """Capacity, times the free share in quarters: replicas whose snapshots differ a little still agree."""
    free_quarters = min(4, max(1, 4 - int(node.load * 4)))
    return node.max_sessions * free_quarters / 4
