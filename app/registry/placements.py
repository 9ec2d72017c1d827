"""Placements as the registry takes and gives them."""

from dataclasses import dataclass
from typing import Literal

Reason = Literal["sticky", "least-load", "round-robin", "fallback"]
Outcome = Literal["created", "failed", "misconfigured", "unblamed"]


@dataclass(frozen=True, slots=True)
class PlacementRequest:
    """What a placement must know of a channel request."""

    id: str
    """Unique per request: a script sent twice acts once."""
    issuer: str
    tenant: str = "default"
    attempt: int = 1
    groups: tuple[tuple[str, ...], ...] = (("*",),)
    """Groups of regions in order of preference; `*` is the whole fleet."""
    exclude: tuple[str, ...] = ()
    """Addresses this request has tried."""
    hold_ms: int = 2_500
    """For how long this request may hold the placement."""
    allow: tuple[str, ...] | None = None
    """Regions a sticky placement must be in."""
    max_channels: int | None = None
    """The tenant's limit."""


@dataclass(frozen=True, slots=True)
class Placement:
    """An SFU for one channel request."""

    address: str
    region: str
    sealed_key: str
    public_url: str
    reason: Reason
    is_held: bool
    """Whether this request holds the placement and must report how it ended."""
    uuid: str
    """The channel the issuer had there last, or empty."""
    is_local: bool = False
    """Whether this replica chose it by itself, so that the registry does not know of it."""


@dataclass(frozen=True, slots=True)
class ConfirmedPlacement:
    """A channel that an SFU has created: where a tenant's issuer is."""

    tenant: str
    issuer: str
    address: str
    uuid: str
    confirmed_at: int
    """When, in ms of Redis' clock. Of two placements of one issuer the later one counts."""
    generation: int = 0
    """The SFU's registration; 0 when it is not known."""
    caller: str = ""
    """The caller's address that the SFU knows the channel by; empty when it is not known."""


@dataclass(frozen=True, slots=True)
class Busy:
    """Another request is placing the same issuer; it has `wait_ms` left at most."""

    wait_ms: int


@dataclass(frozen=True, slots=True)
class ForwardOutcome:
    """How forwarding one channel request to one SFU ended."""

    id: str
    tenant: str
    issuer: str
    address: str
    outcome: Outcome
    is_final: bool = True
    uuid: str = ""
    is_local: bool = False
    """`is_local` of the placement."""
