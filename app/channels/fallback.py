"""Placing channels without Redis, from the snapshot.

All replicas choose the same SFU for an issuer without talking to each other: weighted rendezvous hashing of
the issuer. What cannot be shared meanwhile is kept here: failures, reservations, and what was placed, to be
told to the registry when it is back.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from app.channels.rendezvous import rendezvous_order
from app.errors import NoSfuAvailable, Overloaded
from app.registry.placements import ForwardOutcome, Placement, PlacementRequest, Reason
from app.registry.snapshot import Snapshot, SnapshotNode

ANYWHERE: Final = "*"
_MARK_DOWN_S: Final = 10.0
_MOST_LEARNED: Final = 50_000


@dataclass(frozen=True, slots=True)
class OfflinePlacement:
    """A channel that was created while Redis was away."""

    tenant: str
    issuer: str
    address: str
    uuid: str


class SnapshotPlacer:
    """Places channels by this replica's snapshot alone."""

    def __init__(self, snapshot: Callable[[], Snapshot], clock: Callable[[], float] | None = None) -> None:
        """Take where the snapshot is to be found, and for tests a `clock` in seconds."""
        self._snapshot = snapshot
        self._clock = clock
        self._down_until: dict[str, float] = {}
        self._placed: Counter[str] = Counter()
        self._learned: OrderedDict[tuple[str, str], OfflinePlacement] = OrderedDict()

    def select(self, request: PlacementRequest) -> Placement:
        """Pick an SFU: the issuer's first in rendezvous order, of the first region group that has one.

        Raises:
            NoSfuAvailable, Overloaded: there is none, or only full ones.
        """
        snapshot = self._snapshot()
        usable = [node for node in snapshot.nodes if self._is_usable(node, request)]
        candidates = [node for node in usable if not self._is_full(node, snapshot)]
        if not candidates:
            if usable:
                raise Overloaded("every SFU that is known to be healthy is full")
            raise NoSfuAvailable("no SFU is known to be healthy")
        for number, group in enumerate(request.groups):
            members = [node for node in candidates if node.region in group or ANYWHERE in group]
            if members:
                return self._pick(request, members, is_fallback=number > 0)
        raise NoSfuAvailable("no SFU is known to be healthy where this request may go")

    def _pick(
        self, request: PlacementRequest, nodes: Sequence[SnapshotNode], *, is_fallback: bool
    ) -> Placement:
        by_address = {node.address: node for node in nodes}
        name = f"{request.tenant}\0{request.issuer}"
        order = rendezvous_order(name, ((node.address, _weight(node)) for node in nodes))
        node = by_address[order[0]]
        self._placed[node.address] += 1
        reason: Reason = "fallback" if is_fallback else "least-load"
        return Placement(node.address, node.region, node.sealed_key, node.public_url, reason, True, "", True)

    def report(self, report: ForwardOutcome) -> None:
        """Note how forwarding ended."""
        if report.outcome == "created":
            self._learn(OfflinePlacement(report.tenant, report.issuer, report.address, report.uuid))
            return
        if report.is_local:
            self._give_back(report.address)
        if report.outcome != "unblamed":
            self._down_until[report.address] = self._now() + _MARK_DOWN_S

    def _learn(self, learned: OfflinePlacement) -> None:
        name = (learned.tenant, learned.issuer)
        if name in self._learned:
            self._give_back(learned.address)  # the same channel again reserves nothing
        self._learned[name] = learned
        if len(self._learned) > _MOST_LEARNED:
            self._learned.popitem(last=False)

    def keep_offline(self, learned: Sequence[OfflinePlacement]) -> None:
        """Take back what could not be told."""
        for channel in learned:
            self._learned.setdefault((channel.tenant, channel.issuer), channel)

    def _give_back(self, address: str) -> None:
        self._placed[address] = max(0, self._placed[address] - 1)

    def take_offline(self) -> list[OfflinePlacement]:
        """Return what was placed meanwhile and forget it, with everything else: the registry is back."""
        learned = list(self._learned.values())
        self._learned.clear()
        self._placed.clear()
        self._down_until.clear()
        return learned

    def _is_usable(self, node: SnapshotNode, request: PlacementRequest) -> bool:
        is_allowed = request.allow is None or node.region in request.allow
        is_down = self._down_until.get(node.address, 0.0) > self._now()
        return is_allowed and not is_down and node.address not in request.exclude

    def _is_full(self, node: SnapshotNode, snapshot: Snapshot) -> bool:
        reserved = snapshot.sessions_per_channel * self._placed[node.address]
        return node.sessions + reserved >= node.max_sessions

    def _now(self) -> float:
        return self._clock() if self._clock else asyncio.get_running_loop().time()


def _weight(node: SnapshotNode) -> float:
    """Capacity, times the free share in quarters: replicas whose snapshots differ a little still agree."""
    free_quarters = min(4, max(1, 4 - int(node.load * 4)))
    return node.max_sessions * free_quarters / 4
