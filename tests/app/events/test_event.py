"""Transitions as they stand in the stream and as they are published."""

import msgpack  # type: ignore[import-untyped]
import pytest
from fakeredis import FakeServer

from app.crypto.tokens import Key
from app.events.event import pack_event, read_event, unpack_event
from app.registry.client import close_client, embedded_client
from app.registry.registry import Registry
from app.registry.sfus import SfuReport
from app.settings.model import Settings

FIELDS = {
    "type": "down",
    "address": "http://sfu1:8070",
    "region": "eu-west",
    "state": "lost",
    "reason": "expired",
    "generation": "3",
    "at": "1750000000000",
}


def test_an_entry_of_the_stream_is_an_event() -> None:
    assert read_event("1750000000000-0", FIELDS) == {
        "id": "1750000000000-0",
        "type": "down",
        "address": "http://sfu1:8070",
        "region": "eu-west",
        "state": "lost",
        "reason": "expired",
        "generation": 3,
        "at": 1_750_000_000_000,
    }


def test_what_is_published_is_a_msgpack_map_of_the_event() -> None:
    payload = pack_event("1-0", FIELDS)
    assert msgpack.unpackb(payload) == unpack_event(payload) == read_event("1-0", FIELDS)


def test_fields_that_a_newer_gateway_adds_are_left_out() -> None:
    assert read_event("1-0", FIELDS | {"future": "x"}) == read_event("1-0", FIELDS)


def test_an_event_of_an_older_version_has_no_state() -> None:
    older = {name: value for name, value in FIELDS.items() if name != "state"}
    assert read_event("1-0", older)["state"] == ""


@pytest.mark.parametrize("field", [name for name in FIELDS if name != "state"])
def test_an_entry_without_a_field_is_no_event(field: str) -> None:
    with pytest.raises(KeyError, match=field):
        read_event("1-0", {name: value for name, value in FIELDS.items() if name != field})


async def test_the_scripts_write_what_is_read_here() -> None:
    redis = embedded_client(FakeServer())
    registry = Registry.from_settings(redis, Settings())
    key = Key(b"the key of this SFU")
    await registry.registrations.heartbeat(SfuReport(address="http://sfu1:8070", region="eu-west", key=key))
    await registry.registrations.sign_off("http://sfu1:8070", key)
    up, down = [read_event(*entry) for entry in await registry.outbox.events_after("0-0", 10)]
    await close_client(redis)
    assert (up["type"], down["type"], down["reason"]) == ("up", "down", "signed-off")
    assert (up["state"], down["state"]) == ("selectable", "signed-off")
    assert {event["address"] for event in (up, down)} == {"http://sfu1:8070"}
    assert up["generation"] == down["generation"] == 1
    assert down["at"] >= up["at"] > 1_700_000_000_000
