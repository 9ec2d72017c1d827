"""The selectable fleet as this replica last saw it: what places channels while Redis is away.

Read in the background, never on a request's time. It is frozen while the registry cannot be believed: when
Redis does not answer, and while most SFUs are silent at once.
"""

from dataclasses import dataclass


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


@dataclass(frozen=True, slots=True)
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

    @property
    def regions(self) -> frozenset[str]:
        """Regions with at least one node."""
        return frozenset(node.region for node in self.nodes)
