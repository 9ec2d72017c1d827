"""The table from which a replica places channels without Redis: O(log N) of the fleet for each placement.

Weighted multi-probe consistent hashing. B. Appleton, M. O'Reilly, "Multi-Probe Consistent Hashing", 2015
(arXiv:1505.00062): each SFU has a few points on a ring, a name probes the ring several times, and the closest
point wins. Weights divide the distance, the linear method of J. Schindelhauer, G. Schomaker, "Weighted
Distributed Hash Tables", SPAA 2005.

The winner depends on nothing but the SFUs' addresses and weights, and on the name. So replicas with equal
snapshots agree, in whichever order and by whichever updates they learned them, and an SFU that comes, goes or
changes its weight moves only names to it or from it.
"""

import hashlib
import math
import struct
from array import array
from bisect import bisect_left
from collections.abc import Collection, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

_POINTS: Final = 32
"""Per SFU: more make shares more even (about 4 % standard deviation) and the table larger (8 bytes each, twice)."""

_PROBES: Final = 8
"""Per name: one digest has eight."""

_RING: Final = 1 << 64
_INDEX_BITS: Final = 20
_INDEX_MASK: Final = (1 << _INDEX_BITS) - 1
"""The low bits of a point say whose it is; an SFU more than a million is not expected."""

_OCTAVES_PER_BAND: Final = 4
_EIGHT: Final = struct.Struct(">8Q")


@dataclass(frozen=True, slots=True)
class Entry:
    """One SFU of the table."""

    address: str
    region: str
    weight: float
    """Above 0; an SFU gets names in proportion to it."""

    @property
    def band(self) -> int:
        """Which ring of its region it is on. A ring has weights of similar size, so that a search can stop early."""
        return math.frexp(self.weight)[1] // _OCTAVES_PER_BAND


class _Ring:
    """Sorted points of SFUs with weights of one band."""

    __slots__ = ("heaviest", "points")

    def __init__(self) -> None:
        self.points = array("Q")
        self.heaviest = 0.0
        """No SFU on it has more weight; a bound, for stopping the search."""

    def remove(self, points: Iterable[int]) -> None:
        former, kept, start = self.points, array("Q"), 0
        for point in sorted(points):
            index = bisect_left(former, point, start)
            kept += former[start:index]
            start = index + 1
        self.points = kept + former[start:]

    def add(self, points: Iterable[int]) -> None:
        former, merged, start = self.points, array("Q"), 0
        ordered = sorted(points)
        if not former:
            self.points = array("Q", ordered)
            return
        for point in ordered:
            index = bisect_left(former, point, start)
            merged += former[start:index]
            merged.append(point)
            start = index
        merged += former[start:]
        self.points = merged


_RingName = tuple[str | None, int]
"""A region, or `None` for the whole fleet, and a band."""


class PlacementTable:
    """SFUs by region, to be found by a name's hash."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries: dict[str, Entry] = {}
        self._addresses: list[str] = []
        self._weights: list[float] = []
        self._index: dict[str, int] = {}
        self._free: list[int] = []
        self._rings: dict[_RingName, _Ring] = {}
        self.steps = 0
        """Points that searches have looked at: what a placement costs, independent of the machine."""
        self.update(entries)

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, address: object) -> bool:
        return address in self._index

    def update(self, entries: Iterable[Entry] = (), gone: Iterable[str] = ()) -> None:
        """Add `entries`, in place of former ones of their addresses, and take out the `gone`.

        A weight that changes a little costs nothing; all other changes of one call share one copy of the points.
        """
        added: dict[_RingName, list[int]] = {}
        removed: dict[_RingName, list[int]] = {}
        for address in gone:
            self._take_out(address, removed)
        for entry in entries:
            former = self._entries.get(entry.address)
            if former == entry:
                continue
            if former is not None and (former.region, former.band) == (entry.region, entry.band):
                self._set(self._index[entry.address], entry)
                for name in _rings_of(entry):
                    self._rings[name].heaviest = max(self._rings[name].heaviest, entry.weight)
                continue
            self._take_out(entry.address, removed)
            self._put_in(entry, added)
        for name, points in removed.items():
            self._rings[name].remove(points)
        for name, points in added.items():
            self._rings.setdefault(name, _Ring()).add(points)
        for name in [name for name, ring in self._rings.items() if not ring.points]:
            del self._rings[name]
        self._share_points()

    def _share_points(self) -> None:
        """Keep one copy of points that are all of one region. No ring changes its points in place."""
        for (region, band), ring in self._rings.items():
            whole = self._rings[None, band]
            if region is not None and len(whole.points) == len(ring.points):
                whole.points = ring.points

    def find(
        self, name: str, regions: Collection[str] | None = None, skip: Container[str] = ()
    ) -> str | None:
        """Return the address of the SFU that `name` belongs to, among those of `regions` (`None`: all of them) that
        are not to be skipped; `None` when there is no such SFU.
        """
        probes = _EIGHT.unpack(hashlib.blake2b(name.encode(errors="replace"), digest_size=64).digest())
        best, winner = math.inf, None
        for ring in self._rings_in(regions):
            best, winner = self._search(ring, probes, skip, best, winner)
        return winner

    def _search(
        self, ring: _Ring, probes: Sequence[int], skip: Container[str], best: float, winner: str | None
    ) -> tuple[float, str | None]:
        """Look from each probe on until no point can be closer, by its weight, than the best so far."""
        points, heaviest, weights, steps = ring.points, ring.heaviest, self._weights, 0
        for start in probes:
            index, probe = bisect_left(points, start), start
            limit = best * heaviest
            for _ in range(len(points)):
                if index == len(points):
                    index, probe = 0, start - _RING
                steps += 1
                point = points[index]
                distance = point - probe
                if distance > limit:
                    break
                owner = point & _INDEX_MASK
                score = distance / weights[owner]
                if score < best:
                    address = self._addresses[owner]
                    if address not in skip:
                        best, winner, limit = score, address, score * heaviest
                index += 1
        self.steps += steps
        return best, winner

    def _rings_in(self, regions: Collection[str] | None) -> list[_Ring]:
        wanted = None if regions is None else frozenset(regions)
        return [
            ring
            for (region, _), ring in self._rings.items()
            if (region is None if wanted is None else region in wanted)
        ]

    def _set(self, index: int, entry: Entry) -> None:
        self._entries[entry.address] = entry
        self._addresses[index] = entry.address
        self._weights[index] = entry.weight

    def _put_in(self, entry: Entry, added: dict[_RingName, list[int]]) -> None:
        if self._free:
            index = self._free.pop()
        else:
            index = len(self._addresses)
            self._addresses.append("")
            self._weights.append(0.0)
        self._set(index, entry)
        self._index[entry.address] = index
        points = _points_of(entry.address, index)
        for name in _rings_of(entry):
            added.setdefault(name, []).extend(points)
            ring = self._rings.setdefault(name, _Ring())
            ring.heaviest = max(ring.heaviest, entry.weight)

    def _take_out(self, address: str, removed: dict[_RingName, list[int]]) -> None:
        entry = self._entries.pop(address, None)
        if entry is None:
            return
        index = self._index.pop(address)
        points = _points_of(address, index)
        for name in _rings_of(entry):
            removed.setdefault(name, []).extend(points)
        self._free.append(index)


def _rings_of(entry: Entry) -> tuple[_RingName, _RingName]:
    return (None, entry.band), (entry.region, entry.band)


def _points_of(address: str, index: int) -> list[int]:
    """The points of one SFU, with its index in their low bits."""
    points: list[int] = []
    for number in range(_POINTS // 8):
        salt = number.to_bytes(2, "big")
        points += _EIGHT.unpack(hashlib.blake2b(address.encode(), digest_size=64, salt=salt).digest())
    return [point & ~_INDEX_MASK | index for point in points]
