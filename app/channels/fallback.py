"""Placing channels without Redis, from the snapshot.

A known call stays where it is (`app.channels.call_memory`). A new one goes where its issuer's hash says
(`app.channels.placement_table`): all replicas choose the same SFU without talking to each other. This replica keeps
for itself what cannot be shared meanwhile: failures and reservations (`app.channels.local_fleet`), and what it placed
(`app.channels.outbox`).
"""

import asyncio
from collections.abc import Callable, Collection, Iterator

from app.channels.call_memory import CallMemory
from app.channels.local_fleet import LocalFleet
from app.channels.outbox import Outbox
from app.errors import NoSfuAvailable, Overloaded
from app.registry.placements import (
    ANYWHERE,
    ConfirmedPlacement,
    ForwardOutcome,
    Placement,
    PlacementRequest,
    Reason,
)
from app.registry.sfus import SfuStatus
from app.registry.snapshot import Snapshot


class SnapshotPlacer:
    """Places channels by this replica's snapshot alone. A placement costs O(log N) of the fleet."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        clock: Callable[[], float] | None = None,
        memory: CallMemory | None = None,
    ) -> None:
        """`clock` is for tests, in seconds. Without a `memory` no call is known but those placed here."""
        self._clock = clock
        if memory is None:
            memory = CallMemory(lambda: round(self._now() * 1000), ttl_ms=14_400_000)
        self.memory = memory
        self.outbox = Outbox()
        self._fleet = LocalFleet(snapshot, self._now)

    @property
    def steps(self) -> int:
        """Points of the tables that placements have looked at so far."""
        return self._fleet.open.steps + self._fleet.last_resort.steps

    async def prepare(self) -> None:
        """Make the tables of a new snapshot, so that no request has to."""
        await self._fleet.prepare()

    def forget_marks(self) -> None:
        """Forget reservations and failures: the registry is back."""
        self._fleet.forget_marks()

    def knows(self, address: str) -> bool:
        """Whether the snapshot has an SFU."""
        self._fleet.follow()
        return address in self._fleet.nodes

    def preferred(self, request: PlacementRequest) -> str:
        """Return the address that `select` would choose for the request if it failed nowhere; empty for none."""
        self._fleet.follow()
        call, home = self._known(request)
        if call is not None and home is not None and self._fleet.keeps_calls(home):
            return home.address
        return next((address for _, address in self._open_to(request)), "")

    def select(self, request: PlacementRequest, lock_owner_asks: str = "") -> Placement:
        """Return the SFU that has the issuer's call, or that the issuer's lock owner asks; else the issuer's own.

        The issuer's own is of the first region group that has one. Ejected SFUs, and those that failed here, are the
        last resort, as in select.lua.

        Raises:
            NoSfuAvailable, Overloaded: there is none, or only full ones.
        """
        self._fleet.follow()
        self._fleet.end_marks()
        call, home = self._known(request)
        if call is not None and home is not None and self._fleet.keeps_calls(home):
            return _placement(home, "sticky", request, call)
        asked = self._fleet.nodes.get(lock_owner_asks)
        if asked is not None and asked.address not in request.exclude and self._fleet.keeps_calls(asked):
            return self._place(request, asked.address, "sticky")
        for number, address in self._open_to(request):
            return self._place(request, address, "fallback" if number else "least-load")
        if call is not None and home is not None:
            return _placement(home, "last-resort", request, call)
        name, groups = _hashed(request), _groups_of(request)
        for regions in groups:
            last_resort = self._fleet.last_resort.find(name, regions, request.exclude)
            if last_resort is not None:
                return self._place(request, last_resort, "last-resort")
        if any(self._fleet.has_full(regions, request.exclude) for regions in groups):
            raise Overloaded("every SFU that is known to be healthy is full")
        raise NoSfuAvailable("no SFU is known to be healthy where this request may go")

    def _open_to(self, request: PlacementRequest) -> Iterator[tuple[int, str]]:
        """The issuer's own SFU in each region group that has one, with the number of the group."""
        name = _hashed(request)
        for number, regions in enumerate(_groups_of(request)):
            address = self._fleet.open.find(name, regions, request.exclude)
            if address is not None:
                yield number, address

    def _known(self, request: PlacementRequest) -> tuple[ConfirmedPlacement | None, SfuStatus | None]:
        """The issuer's call and the SFU that has it, while that lives and the call may stay."""
        call = self.memory.of(request.call)
        node = self._fleet.nodes.get(call.address) if call else None
        if call is None or node is None or node.address in request.exclude:
            return None, None
        is_another = call.generation and node.generation and call.generation != node.generation
        is_allowed = request.allow is None or node.region in request.allow
        return (None, None) if is_another or not is_allowed else (call, node)

    def _place(self, request: PlacementRequest, address: str, reason: Reason) -> Placement:
        self._fleet.reserve(request.call, address)
        placement = _placement(self._fleet.nodes[address], reason, request)
        if self.memory.has_other_key(request.call):
            placement.has_other_key = True
        return placement

    def record_outcome(self, report: ForwardOutcome) -> None:
        """Note how forwarding ended."""
        if report.result == "created":
            confirmed = report.confirmed(self.memory.now_ms)
            self.memory.remember(confirmed)
            self.outbox.keep(confirmed)
            return
        call, placement = report.call, report.placement
        if placement.is_local:
            self._fleet.return_reservation(call, placement.address)
        if report.result != "unblamed":
            self._fleet.mark_down(placement.address)

    def _now(self) -> float:
        return self._clock() if self._clock else asyncio.get_running_loop().time()


def _groups_of(request: PlacementRequest) -> list[Collection[str] | None]:
    return [_regions_of(group, request.allow) for group in request.groups]


def _regions_of(group: Collection[str], allow: Collection[str] | None) -> Collection[str] | None:
    """Return the regions of a group that a request may go to; `None` for the whole fleet."""
    if ANYWHERE in group:
        return allow
    return group if allow is None else [region for region in group if region in allow]


def _placement(
    node: SfuStatus, reason: Reason, request: PlacementRequest, call: ConfirmedPlacement | None = None
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
