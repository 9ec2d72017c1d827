"""The fleet as this replica last read it. It places channels while Redis is away, and people see it.

The snapshot does not change while Redis does not answer, and while most SFUs are silent at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from app.registry.sfus import SfuStatus


@dataclass(frozen=True)
class Snapshot:
    """The fleet at one moment."""

    nodes: tuple[SfuStatus, ...] = ()
    """The SFUs that keep calls."""
    sessions_per_channel: float = 1.0
    epoch: str = ""
    """Changes when SFUs come, go or register anew. Empty while the registry is empty."""
    began_at: str = ""
    """When the registry's data began. A change means that Redis lost its data."""
    is_held: bool = False
    """Whether most of the fleet fell silent at once. The replica does not use the registry then."""
    at_ms: int = 0
    """The time of the reading by Redis' clock; 0 for a snapshot that does not come from Redis."""
    others: tuple[SfuStatus, ...] = ()
    """The SFUs that keep no calls: down, drained."""

    @property
    def sfus(self) -> tuple[SfuStatus, ...]:
        """Every SFU, living and lost, in no order."""
        return self.nodes + self.others

    @property
    def addresses(self) -> frozenset[str]:
        """Addresses of all nodes."""
        return frozenset(node.address for node in self.nodes)

    @cached_property
    def regions(self) -> frozenset[str]:
        """Regions with at least one selectable SFU."""
        return selectable_regions(self.nodes)


def selectable_regions(sfus: Iterable[SfuStatus]) -> frozenset[str]:
    """Return the regions with at least one selectable SFU."""
    return frozenset(sfu.region for sfu in sfus if sfu.eligibility == "selectable")


def beginning_of(epoch: str) -> str:
    """Return when the data of `epoch` began."""
    return epoch.partition("-")[0]


EMPTY_SNAPSHOT: Final = Snapshot()
"""The snapshot of a replica that has not read the fleet yet."""
