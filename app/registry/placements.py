"""The values of placements that go into the registry and come out of it.

Each request makes several of them, so they are not frozen: that would take three times as long.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from sys import intern
from typing import Any, Final, Literal, NamedTuple, Self

from app.errors import NoSfuAvailable, Overloaded, TenantLimitReached
from app.registry.scripts import Argument, utf8

ANYWHERE: Final = "*"
"""In place of regions: the whole fleet."""

Reason = Literal["sticky", "least-load", "round-robin", "fallback", "last-resort"]
Outcome = Literal["created", "failed", "misconfigured", "unblamed"]


class CallId(NamedTuple):
    """Whose call it is. Every value of a placement carries it, and it is the key of what a replica knows of calls."""

    tenant: str
    issuer: str
    """`iss` as the caller wrote it."""
    channel_key_fingerprint: str = ""
    """Tells databases apart that share an issuer; empty when the token has no channel key."""


@dataclass(slots=True)
class PlacementRequest:
    """The part of a channel request that a placement depends on."""

    id: str
    """Unique per request: a script sent twice acts once."""
    call: CallId
    attempt: int = 1
    groups: tuple[tuple[str, ...], ...] = ((ANYWHERE,),)
    """Groups of regions, or `ANYWHERE`, in order of preference."""
    exclude: tuple[str, ...] = ()
    """Addresses this request has tried."""
    lock_ms: int = 2_500
    """For how long this request may lock the placement."""
    allow: tuple[str, ...] | None = None
    """Regions a sticky placement must be in."""
    max_placements: int | None = None
    """The tenant's limit."""
    caller: str = ""
    """The caller's address, as the SFU is to see it; the placement's own wins (`Placement.caller`)."""
    preferred: str = ""
    """The SFU that the replica would choose without Redis; empty while Redis answers every replica well."""

    @property
    def where(self) -> tuple[str, str, str]:
        """The arguments of a script for `groups`, `exclude` and `allow`."""
        return (
            "|".join(map(",".join, self.groups)),
            " ".join(self.exclude),
            ANYWHERE if self.allow is None else ",".join(self.allow),
        )


@dataclass(slots=True)
class Placement:
    """An SFU for one attempt of a channel request."""

    address: str
    region: str
    sealed_key: str
    public_url: str
    reason: Reason
    """`last-resort`: no selectable SFU is left, this one is ejected."""
    is_locked: bool
    """Whether this request locks the placement and must record how it ended."""
    uuid: str
    """The channel the issuer had there last, or empty."""
    is_local: bool = False
    """Whether this replica chose it by itself, so that the registry does not know of it."""
    generation: int = 0
    """The SFU's registration; 0 when it is not known."""
    caller: str = ""
    """The caller's address that the SFU is to see: the one that the placement began with."""
    has_other_key: bool = False
    """Whether another channel key has the issuer's own name: two databases, which are kept apart. It stays so."""


@dataclass(slots=True)
class ConfirmedPlacement:
    """A channel that an SFU has created: where a tenant's issuer is."""

    call: CallId
    address: str
    uuid: str
    confirmed_at: int
    """When, in ms of Redis' clock. Of two placements of one issuer the later one counts."""
    generation: int = 0
    """The SFU's registration; 0 when it is not known."""
    caller: str = ""
    """The caller's address that the SFU knows the channel by; empty when it is not known."""
    has_other_key: bool = False
    """`has_other_key` of the placement."""
    id: str = ""
    """Of the request that confirmed it."""
    is_limited: bool = False
    """Whether the tenant has a limit, so that the placement counts towards it."""

    @classmethod
    def of(
        cls, call: CallId, placement: Placement, uuid: str, at_ms: int, *, request_id: str, is_limited: bool
    ) -> Self:
        """Return the channel `uuid` of a `placement`, confirmed at `at_ms` of Redis' clock."""
        return cls(
            call,
            placement.address,
            uuid,
            at_ms,
            placement.generation,
            placement.caller,
            placement.has_other_key,
            request_id,
            is_limited,
        )


@dataclass(frozen=True, slots=True)
class Busy:
    """Another request is placing the same issuer; it has `wait_ms` left at most."""

    wait_ms: int
    address: str = ""
    """The SFU that the other request asks, if it has one."""


@dataclass(slots=True)
class ForwardOutcome:
    """How forwarding one attempt of a channel request to one SFU ended."""

    id: str
    """Of the request."""
    call: CallId
    placement: Placement
    result: Outcome
    is_final: bool = True
    """Whether the request is over and gives up its lock."""
    uuid: str = ""
    attempt: int = 1
    error: str = ""
    """What went wrong, for people: the SFU's status or the cause."""
    is_limited: bool = False
    """Whether the tenant has a limit, so that the placement counts towards it."""

    def confirmed(self, at_ms: int) -> ConfirmedPlacement:
        """Return the call that the outcome `created` tells of, confirmed at `at_ms` of Redis' clock."""
        return ConfirmedPlacement.of(
            self.call, self.placement, self.uuid, at_ms, request_id=self.id, is_limited=self.is_limited
        )


@dataclass(frozen=True, slots=True)
class ChannelOwner:
    """The owner of a channel: its tenant, its SFU, and the caller's address that the SFU knows the channel by."""

    tenant: str
    address: str
    caller: str = ""


@dataclass(slots=True)
class Confirmed:
    """What the registry made of an outcome or a confirmation."""

    is_placed: bool
    """Whether the issuer's placement is this channel now; always false for a channel that was not created."""
    uuid_owner: ChannelOwner | None = None
    """The living SFU or the tenant that has the same uuid and keeps it."""
    is_repeated: bool = False
    """Whether this attempt had been counted before."""


def placement_of(reply: Sequence[Any]) -> Placement | Busy:
    """Return what a reply of select.lua says. Raises as `Registry.select`."""
    if reply[0] == "placed":
        _, address, region, sealed, public_url, reason, locked, uuid, generation, caller, other = reply
        return Placement(
            address,
            region,
            sealed,
            public_url,
            reason,
            bool(locked),
            uuid,
            generation=int(generation),
            caller=caller,
            has_other_key=bool(other),
        )
    match reply:
        case ["wait", wait_ms, address]:
            return Busy(int(float(wait_ms)), address)
        case ["overloaded", epoch]:
            raise Overloaded("every SFU this request may use is above a load threshold", epoch=epoch)
        case ["limit"]:
            raise TenantLimitReached("the tenant has all the placements it may have")
        case [_, epoch]:
            raise NoSfuAvailable("no healthy SFU is registered where this request may go", epoch=epoch)
        case _:
            raise AssertionError(f"select.lua replied {reply[0]}")


def confirmation_arguments(placement: ConfirmedPlacement) -> tuple[Argument, ...]:
    """Return the arguments of confirm.lua for one call."""
    call = placement.call
    return (
        placement.id,
        call.tenant,
        utf8(call.issuer),
        call.channel_key_fingerprint,
        placement.address,
        placement.generation,
        utf8(placement.uuid),
        placement.confirmed_at,
        placement.caller,
        int(placement.is_limited),
    )


def confirmation_facts(placement: ConfirmedPlacement) -> str:
    """Return the entry that the stream of confirmations has of a placement, without its tenant and issuer."""
    return (
        f"{placement.call.channel_key_fingerprint}\n{placement.address}\n{placement.generation}\n{placement.uuid}\n"
        f"{placement.caller}\n{placement.confirmed_at}\n{placement.id}\n"
        f"{'1' if placement.is_limited else '0'}\n{'1' if placement.has_other_key else '0'}"
    )


def confirmed_placement(entry: str) -> ConfirmedPlacement:
    """Return the placement in an entry of the stream of confirmations: lua/includes/log_confirmation.lua."""
    tenant, fingerprint, address, generation, uuid, caller, at, id_, limited, other, issuer = entry.split(
        "\n", 10
    )
    return ConfirmedPlacement(
        call=CallId(intern(tenant), issuer, fingerprint),
        address=address,
        uuid=uuid,
        confirmed_at=int(at),
        generation=int(generation),
        caller=caller,
        has_other_key=other == "1",
        id=id_,
        is_limited=limited == "1",
    )
