"""Transitions of SFUs, as they are published: msgpack maps (https://msgpack.org)."""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypedDict, cast

import msgpack  # type: ignore[import-untyped]

from app.registry.sfus import State

EventType = Literal[
    "up",
    "down",
    "draining",
    "drained",
    "breaker-open",
    "breaker-closed",
    "misconfigured",
    "overloaded",
    "mass-expiry",
    "restarted",
    "address_shared",
    "moving",
]
"""What happens to SFUs; the scripts write them."""

GAP: Final = "gap"
"""A viewer's notice that older events are not replayed. It is never in the stream."""


class Event(TypedDict):
    """One transition. Delivered at least once: `id` tells a repetition, `generation` a former life."""

    id: str
    """The stream id."""
    type: EventType | Literal["gap"]
    address: str
    region: str
    state: State | Literal[""]
    """The SFU's state from then on; empty where the event changes none."""
    reason: str
    generation: int
    """Which life of the SFU: it grows with each registration."""
    at: int
    """Milliseconds since the epoch, by Redis' clock."""


def read_event(stream_id: str, fields: Mapping[str, str]) -> Event:
    """Return the event that a stream entry holds."""
    return {
        "id": stream_id,
        "type": cast("EventType", fields["type"]),
        "address": fields["address"],
        "region": fields["region"],
        "state": cast("State", fields.get("state", "")),  # an event of an older version has none
        "reason": fields["reason"],
        "generation": int(fields["generation"]),
        "at": int(fields["at"]),
    }


def pack_event(stream_id: str, fields: Mapping[str, str]) -> bytes:
    """Return the payload published for a stream entry."""
    return cast("bytes", msgpack.packb(read_event(stream_id, fields)))


def unpack_event(payload: bytes) -> Event:
    """Return the event in a published `payload`."""
    document: Any = msgpack.unpackb(payload)
    return cast("Event", document)
