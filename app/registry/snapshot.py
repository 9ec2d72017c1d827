"""The selectable fleet as this replica last saw it: what places channels while Redis is away.

Read in the background, never on a request's time. It is frozen while the registry cannot be believed: when
Redis does not answer, and while most SFUs are silent at once.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final


@dataclass(frozen=True, slots=True)
class SnapshotNode:
    """One selectable SFU."""

    address: str
    region: str
    sealed_key: str
    public_url: str
    load: float
    sessions: float
    """Reported sessions and reserved ones."""
    max_sessions: float


def node_of(row: Sequence[str], former: SnapshotNode | None = None) -> SnapshotNode:
    """Return the SFU that a row of snapshot.lua describes; `former` is the same one as it was last seen.

    Where nothing has changed it is `former` itself, else it shares the texts that are equal.
    """
    address, region, sealed_key, public_url, *figures = row
    if former is not None:
        address = former.address
        sealed_key, public_url = _same(former.sealed_key, sealed_key), _same(former.public_url, public_url)
    node = SnapshotNode(address, sys.intern(region), sealed_key, public_url, *map(float, figures))
    return former if former == node else node


def _same(former: str, fresh: str) -> str:
    return former if former == fresh else fresh


@dataclass(frozen=True)
class Snapshot:
    """The selectable fleet at one moment."""

    nodes: tuple[SnapshotNode, ...] = ()
    sessions_per_channel: float = 1.0
    epoch: str = ""
    """When the registry's data began; another epoch than before means that data was lost."""
    is_held: bool = False
    """Whether most of the fleet went silent at once, so that the registry is not to be believed."""

    @property
    def addresses(self) -> frozenset[str]:
        """Addresses of all nodes."""
        return frozenset(node.address for node in self.nodes)

    @cached_property
    def regions(self) -> frozenset[str]:
        """Regions with at least one node."""
        return frozenset(node.region for node in self.nodes)


EMPTY_SNAPSHOT: Final = Snapshot()
"""What a replica knows that has not read the fleet yet."""
