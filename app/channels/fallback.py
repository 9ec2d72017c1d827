"""Placing channels without Redis, from the snapshot.

A known call stays where it is (`app.channels.call_memory`). A new one goes where its issuer's hash says
(`app.channels.placement_table`): all replicas choose the same SFU without talking to each other. This replica keeps
for itself what cannot be shared meanwhile: failures, reservations, and what it placed (`app.channels.outbox`).
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from app.channels.call_memory import CallMemory
from app.channels.outbox import Outbox
from app.channels.placement_table import Entry, PlacementTable
from app.errors import NoSfuAvailable, Overloaded
from app.registry.placements import (
    ANYWHERE,
    CallId,
    ConfirmedPlacement,
    ForwardOutcome,
    Placement,
    PlacementRequest,
    Reason,
)
from app.registry.snapshot import Snapshot, SnapshotNode

_MARK_DOWN_S: Final = 10.0
_MOST_RESERVED: Final = 50_000
_MANY: Final = 200
"""SFUs that come at once: more than these are hashed in a thread, about 50 us each."""


class SnapshotPlacer:
    """Places channels by this replica's snapshot alone. A placement costs O(log N) of the fleet."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        clock: Callable[[], float] | None = None,
        memory: CallMemory | None = None,
    ) -> None:
        """`clock` is for tests, in seconds. Without a `memory` no call is known but those placed here."""
        self._snapshot = snapshot
        self._clock = clock
        if memory is None:
            memory = CallMemory(lambda: round(self._now() * 1000), ttl_ms=14_400_000)
        self.memory = memory
        self.outbox = Outbox()
        self._followed: Sequence[SnapshotNode] = ()
        self._nodes: dict[str, SnapshotNode] = {}
        self._open = PlacementTable()
        self._last_resort = PlacementTable()
        self._down_until: dict[str, float] = {}
        """In the order of their end: each mark lasts equally long."""
        self._placed: Counter[str] = Counter()
        self._reserved: OrderedDict[CallId, str] = OrderedDict()
        self._full: dict[str, str] = {}
        """Address to region."""

    @property
    def steps(self) -> int:
        """Points of the tables that placements have looked at so far."""
        return self._open.steps + self._last_resort.steps

    async def prepare(self) -> None:
        """Make the tables of a new snapshot, so that no request has to. A large change is made in a thread."""
        snapshot = self._snapshot()
        has_no_marks = not (self._placed or self._down_until)
        if has_no_marks and len(snapshot.nodes) - len(self._nodes) > _MANY:
            tables = await asyncio.to_thread(_tables_of, snapshot.nodes)
            if snapshot.nodes is self._snapshot().nodes and not (self._placed or self._down_until):
                self._followed = snapshot.nodes
                self._nodes = {node.address: node for node in snapshot.nodes}
                self._open, self._last_resort, self._full = tables
        self._follow()

    def knows(self, address: str) -> bool:
        """Whether the snapshot has an SFU."""
        self._follow()
        return address in self._nodes

    def preferred(self, request: PlacementRequest) -> str:
        """Return the address that `select` would choose for the request if it failed nowhere; empty for none."""
        self._follow()
        call, home = self._known(request)
        if call is not None and home is not None and self._is_home_well(home):
            return home.address
        return next((address for _, address in self._open_to(request)), "")

    def select(self, request: PlacementRequest, lock_owner_asks: str = "") -> Placement:
        """Return the SFU that has the issuer's call, or that the issuer's lock owner asks; else the issuer's own.

        The issuer's own is of the first region group that has one. Ejected SFUs, and those that failed here, are the
        last resort, as in select.lua.

        Raises:
            NoSfuAvailable, Overloaded: there is none, or only full ones.
        """
        self._follow()
        self._end_marks()
        call, home = self._known(request)
        if call is not None and home is not None and self._is_home_well(home):
            return _placement(home, "sticky", request, call)
        asked = self._nodes.get(lock_owner_asks)
        if asked is not None and asked.address not in request.exclude and self._is_home_well(asked):
            return self._place(request, asked.address, "sticky")
        for number, address in self._open_to(request):
            return self._place(request, address, "fallback" if number else "least-load")
        if call is not None and home is not None:
            return _placement(home, "last-resort", request, call)
        name, groups = _hashed(request), _groups_of(request)
        for regions in groups:
            last_resort = self._last_resort.find(name, regions, request.exclude)
            if last_resort is not None:
                return self._place(request, last_resort, "last-resort")
        if any(self._has_full(regions, request.exclude) for regions in groups):
            raise Overloaded("every SFU that is known to be healthy is full")
        raise NoSfuAvailable("no SFU is known to be healthy where this request may go")

    def _open_to(self, request: PlacementRequest) -> Iterator[tuple[int, str]]:
        """The issuer's own SFU in each region group that has one, with the number of the group."""
        name = _hashed(request)
        for number, regions in enumerate(_groups_of(request)):
            address = self._open.find(name, regions, request.exclude)
            if address is not None:
                yield number, address

    def _known(self, request: PlacementRequest) -> tuple[ConfirmedPlacement | None, SnapshotNode | None]:
        """The issuer's call and the SFU that has it, while that lives and the call may stay."""
        call = self.memory.of(request.call)
        node = self._nodes.get(call.address) if call else None
        if call is None or node is None or node.address in request.exclude:
            return None, None
        is_another = call.generation and node.generation and call.generation != node.generation
        is_allowed = request.allow is None or node.region in request.allow
        return (None, None) if is_another or not is_allowed else (call, node)

    def _is_home_well(self, node: SnapshotNode) -> bool:
        """Whether an SFU keeps its calls; a full one does. They leave an ejected one as long as there is another."""
        return node.eligibility != "last-resort" and node.address not in self._down_until

    def _place(self, request: PlacementRequest, address: str, reason: Reason) -> Placement:
        self._reserve(request.call, address)
        placement = _placement(self._nodes[address], reason, request)
        return (
            replace(placement, has_other_key=True) if self.memory.has_other_key(request.call) else placement
        )

    def record_outcome(self, report: ForwardOutcome) -> None:
        """Note how forwarding ended."""
        if report.result == "created":
            confirmed = report.confirmed(self.memory.now_ms)
            self.memory.remember(confirmed)
            self.outbox.keep(confirmed)
            return
        call, placement = report.call, report.placement
        if placement.is_local and self._reserved.get(call) == placement.address:
            self._give_back(call)
        if report.result != "unblamed":
            self._mark_down(placement.address)

    def forget_marks(self) -> None:
        """Forget reservations and failures: the registry is back."""
        marked = {*self._down_until, *self._full}
        self._placed.clear()
        self._reserved.clear()
        self._down_until.clear()
        self._settle(marked)

    # Reservations and marks

    def _reserve(self, call: CallId, address: str) -> None:
        """Count one channel more. An issuer that is placed again takes no second place."""
        if self._reserved.get(call) == address:
            return
        if call in self._reserved:
            self._give_back(call)
        self._reserved[call] = address
        if len(self._reserved) > _MOST_RESERVED:
            self._reserved.popitem(last=False)
        self._placed[address] += 1
        if self._is_full(self._nodes[address]):
            self._settle([address])

    def _give_back(self, call: CallId) -> None:
        address = self._reserved.pop(call)
        self._placed[address] -= 1
        if address in self._full:
            self._settle([address])

    def _mark_down(self, address: str) -> None:
        self._down_until.pop(address, None)
        self._down_until[address] = self._now() + _MARK_DOWN_S
        self._settle([address])

    def _end_marks(self) -> None:
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

    def _is_full(self, node: SnapshotNode) -> bool:
        reserved = self._snapshot().sessions_per_channel * self._placed[node.address]
        return node.sessions + reserved >= node.max_sessions

    def _has_full(self, regions: Collection[str] | None, tried: Collection[str]) -> bool:
        return any(
            (regions is None or region in regions) and address not in tried
            for address, region in self._full.items()
        )

    # Tables

    def _follow(self) -> None:
        """Bring the tables up to date with the snapshot: work for the SFUs that differ."""
        nodes = self._snapshot().nodes
        if nodes is self._followed:
            return
        former, self._followed = self._nodes, nodes
        self._nodes = {node.address: node for node in nodes}
        changed = [node.address for node in nodes if former.pop(node.address, None) is not node]
        self._settle([*changed, *former])

    def _settle(self, addresses: Iterable[str]) -> None:
        """Put SFUs into the table they belong to now, and take them out of the others."""
        open_, last_resort = _Changes(), _Changes()
        for address in addresses:
            node = self._nodes.get(address)
            self._full.pop(address, None)
            is_down = address in self._down_until
            room = None if node is None else _room_of(node, is_down=is_down, is_full=self._is_full(node))
            if node is not None and room == "full":
                self._full[address] = node.region
            open_.note(address, node if room == "open" else None)
            last_resort.note(address, node if room == "last-resort" else None)
        self._open.update(open_.entries, open_.gone)
        self._last_resort.update(last_resort.entries, last_resort.gone)

    def _now(self) -> float:
        return self._clock() if self._clock else asyncio.get_running_loop().time()


@dataclass(slots=True)
class _Changes:
    """What one table has to take in and to let go."""

    entries: list[Entry] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    def note(self, address: str, node: SnapshotNode | None) -> None:
        if node is None:
            self.gone.append(address)
        else:
            self.entries.append(Entry(address, node.region, _weight(node)))


def _tables_of(nodes: Iterable[SnapshotNode]) -> tuple[PlacementTable, PlacementTable, dict[str, str]]:
    """Return the tables of SFUs on which nothing was placed since, and the regions of the full ones."""
    open_, last_resort, full = _Changes(), _Changes(), dict[str, str]()
    for node in nodes:
        room = _room_of(node, is_down=False, is_full=node.sessions >= node.max_sessions)
        if room == "open":
            open_.note(node.address, node)
        elif room == "last-resort":
            last_resort.note(node.address, node)
        elif room == "full":
            full[node.address] = node.region
    return PlacementTable(open_.entries), PlacementTable(last_resort.entries), full


def _room_of(
    node: SnapshotNode, *, is_down: bool, is_full: bool
) -> Literal["open", "full", "last-resort"] | None:
    """Return the table that a node belongs to; `None` for a node that keeps its calls and takes no others."""
    if node.eligibility == "sticky-only":
        return None
    if is_full:
        return "full"
    return "last-resort" if is_down or node.eligibility == "last-resort" else "open"


def _groups_of(request: PlacementRequest) -> list[Collection[str] | None]:
    return [_regions_of(group, request.allow) for group in request.groups]


def _regions_of(group: Collection[str], allow: Collection[str] | None) -> Collection[str] | None:
    """Return the regions of a group that a request may go to; `None` for the whole fleet."""
    if ANYWHERE in group:
        return allow
    return group if allow is None else [region for region in group if region in allow]


def _placement(
    node: SnapshotNode, reason: Reason, request: PlacementRequest, call: ConfirmedPlacement | None = None
) -> Placement:
    return Placement(
        node.address,
        node.region,
        node.sealed_key,
        node.public_url,
        reason,
        is_locked=True,
        uuid=call.uuid if call else "",
        is_local=True,
        generation=node.generation,
        caller=call.caller if call and call.caller else request.caller,
        has_other_key=call.has_other_key if call else False,
    )


def _hashed(request: PlacementRequest) -> str:
    """What decides where a new call goes: two databases that share an issuer are two calls."""
    return "\0".join(part for part in request.call if part)


def _weight(node: SnapshotNode) -> float:
    """Capacity, times the free share in quarters: replicas whose snapshots differ a little still agree."""
    free_quarters = min(4, max(1, 4 - int(node.load * 4)))
    return node.max_sessions * free_quarters / 4
