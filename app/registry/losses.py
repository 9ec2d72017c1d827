"""The values of calls that have lost their SFU, or that have to leave it."""

from dataclasses import dataclass
from typing import Literal

Cursor = Literal["outbox_cursor", "rescue_cursor"]
"""Which reader has processed the events up to it: the relay, or the rescue of calls."""

RescueResult = Literal["moved", "kept", "p2p", "failed"]
"""What became of a call: Odoo's answer (docs/rescue.md), or `failed` when there was none."""

Reason = Literal["down", "unreachable", "restarted", "drain"]
"""Why Odoo is told of a call (docs/rescue.md)."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """An SFU that may be dead."""

    address: str
    generation: int
    reported_at: int
    """When it reported last, in ms of Redis' clock."""


@dataclass(frozen=True, slots=True)
class Loss:
    """One event that concerns the calls of an SFU."""

    event_id: str
    address: str
    generation: int
    """The newest registration whose calls it concerns."""
    reason: Reason
    may_be_mass: bool = False
    """Whether the SFU fell silent: then the network may be the cause."""

    @property
    def lives(self) -> bool:
        """Whether the SFU still serves the calls."""
        return self.reason == "drain"


@dataclass(frozen=True, slots=True)
class LostCall:
    """A call that a loss concerns."""

    name: str
    """`tenant:issuer`, as the list of an SFU's calls has it."""
    uuid: str

    @property
    def tenant(self) -> str:
        """Return the tenant of the call."""
        return self.name.partition(":")[0]
