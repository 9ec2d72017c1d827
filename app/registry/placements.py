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
    caller: str = ""
    """The address of the caller: the placement keeps that of the request that began it."""


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
    caller: str = ""
    """The caller's address that the placement began with; empty where it is not known."""


@dataclass(frozen=True, slots=True)
class PlacedChannel:
    """Where a channel is and whose it is."""

    address: str
    """The SFU's."""
    tenant: str = ""
    """Empty where the registry does not know it."""
    caller: str = ""
    """The caller's address that the SFU knows the channel by; empty where it is not known."""


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
    attempt: int = 1
    """`attempt` of the `PlacementRequest` that the outcome belongs to. Each attempt has one outcome."""
    error: str = ""
    """Why the SFU created no channel, in a few words and free of secrets: "answered 404 to /v1/channel"."""
