"""Transitions of SFUs, as they are published: msgpack maps (https://msgpack.org)."""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypedDict, cast

import msgpack  # type: ignore[import-untyped]

from app.states import State

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
"""The types of transitions. The scripts write them."""

GAP: Final = "gap"
"""Tells a viewer that older events are not replayed. It is never in the stream."""


class Event(TypedDict):
    """One transition, delivered at least once: `id` identifies repetitions, `generation` former registrations."""

    id: str
    """The stream id."""
    type: EventType | Literal["gap"]
    address: str
    region: str
    state: State | Literal[""]
    """The SFU's state from then on; empty where the event changes none."""
    reason: str
    generation: int
    """The registration of the SFU. It grows with each new registration."""
    at: int
    """Milliseconds since the epoch, by Redis' clock."""


def read_event(stream_id: str, fields: Mapping[str, str]) -> Event:
    """Return the event in a stream entry."""
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
