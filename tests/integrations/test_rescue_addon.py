"""What the addon does with a call: where it goes, who is told, and what the gateway hears."""

import ast
from pathlib import Path
from typing import Any

import pytest

from tests.integrations.odoo import ADDON, Odoo, load
from tests.integrations.test_rescue_message import post

ADDON_PATH = Path(__file__).parents[2] / "integrations" / "odoo" / ADDON
OLD = ("old-uuid", "https://sfu1")
NEW = ("new-uuid", "https://sfu2")
LOST = ["down", "unreachable", "restarted"]


def results_of(odoo: Odoo, **changes: Any) -> Any:
    """Post a message, and return what the addon says of each call."""
    status, document = post(odoo, **({"uuids": [OLD[0]]} | changes))
    assert status == 200
    return document["results"]


def told(odoo: Odoo) -> dict[str, list[str]]:
    """The URLs that each person was sent to, in order; empty for peer-to-peer."""
    by_name: dict[str, list[str]] = {}
    for name, info in odoo.bus:
        by_name.setdefault(name, []).append(info["url"] if info else "")
    return by_name


@pytest.mark.parametrize("reason", [*LOST, "drain"])
def test_call_moves_and_everybody_is_told_once(odoo: Odoo, reason: str) -> None:
    call = odoo.add_call(*OLD, "ann", "bob", guests=("visitor",))
    odoo.placements = [NEW]
    assert results_of(odoo, reason=reason) == {OLD[0]: "moved"}
    assert (call.sfu_channel_uuid, call.sfu_server_url) == NEW
    assert told(odoo) == {name: [NEW[1]] for name in ("ann", "bob", "visitor")}


def test_message_that_comes_twice_moves_once(odoo: Odoo) -> None:
    odoo.add_call(*OLD, "ann", "bob", "cid")
    odoo.placements = [NEW]
    results_of(odoo)
    assert results_of(odoo) == {OLD[0]: "kept"}
    assert told(odoo)["ann"] == [NEW[1]]


def test_call_that_is_named_twice_moves_once(odoo: Odoo) -> None:
    odoo.add_call(*OLD, "ann", "bob", "cid")
    odoo.placements = [NEW]
    assert results_of(odoo, uuids=[OLD[0], OLD[0]]) == {OLD[0]: "moved"}


def test_unknown_call_is_kept(odoo: Odoo) -> None:
    call = odoo.add_call(*OLD, "ann", "bob", "cid")
    assert results_of(odoo, uuids=["unknown"]) == {"unknown": "kept"}
    assert (call.sfu_channel_uuid, call.sfu_server_url) == OLD
    assert odoo.bus == []


@pytest.mark.parametrize("reason", LOST)
def test_call_goes_peer_to_peer_when_no_sfu_takes_it(odoo: Odoo, reason: str) -> None:
    call = odoo.add_call(*OLD, "ann", "bob", "cid")
    odoo.placements = [None]
    assert results_of(odoo, reason=reason) == {OLD[0]: "p2p"}
    assert (call.sfu_channel_uuid, call.sfu_server_url) == (False, False)
    assert told(odoo) == {name: [""] for name in ("ann", "bob", "cid")}


def test_gateway_is_not_asked_when_no_sfu_is_available(odoo: Odoo) -> None:
    odoo.add_call(*OLD, "ann", "bob", "cid")
    assert results_of(odoo, available=False) == {OLD[0]: "p2p"}
    assert told(odoo)["ann"] == [""]


@pytest.mark.parametrize("available", [True, False])
def test_drained_call_stays_when_no_sfu_takes_it(odoo: Odoo, available: bool) -> None:
    call = odoo.add_call(*OLD, "ann", "bob", "cid")
    odoo.placements = [None]
    assert results_of(odoo, reason="drain", available=available) == {OLD[0]: "kept"}
    assert (call.sfu_channel_uuid, call.sfu_server_url) == OLD
    assert odoo.bus == []


def test_call_that_the_gateway_leaves_where_it_is_is_kept(odoo: Odoo) -> None:
    call = odoo.add_call(*OLD, "ann", "bob", "cid")
    odoo.placements = [OLD]
    assert results_of(odoo) == {OLD[0]: "kept"}
    assert (call.sfu_channel_uuid, call.sfu_server_url) == OLD
    assert told(odoo)["ann"] == [OLD[1]]


def test_call_of_two_moves_where_odoo_can_place_it(odoo: Odoo) -> None:
    odoo.add_call(*OLD, "ann", "bob")
    odoo.placements = [NEW]
    expected = ("moved", NEW[1]) if odoo.version == "19.0" else ("p2p", "")
    assert results_of(odoo) == {OLD[0]: expected[0]}
    assert told(odoo) == {"ann": [expected[1]], "bob": [expected[1]]}


def test_drained_call_of_two_moves_or_stays(odoo: Odoo) -> None:
    call = odoo.add_call(*OLD, "ann", "bob")
    odoo.placements = [NEW]
    assert results_of(odoo, reason="drain") == {OLD[0]: "moved" if odoo.version == "19.0" else "kept"}
    assert call.sfu_channel_uuid in (OLD[0], NEW[0])


@pytest.mark.parametrize("people", [(), ("ann",)])
def test_call_of_nobody_or_one_asks_for_no_sfu(odoo: Odoo, people: tuple[str, ...]) -> None:
    call = odoo.add_call(*OLD, *people)
    assert results_of(odoo) == {OLD[0]: "p2p"}
    assert call.sfu_channel_uuid is False
    assert told(odoo) == {name: [""] for name in people}


@pytest.mark.parametrize("reason", LOST)
def test_clients_that_compare_urls_are_sent_away_first(odoo: Odoo, reason: str) -> None:
    odoo.add_call(*OLD, "ann", "bob", "cid")
    odoo.placements = [("new-uuid", OLD[1])]
    assert results_of(odoo, reason=reason) == {OLD[0]: "moved"}
    expected = [OLD[1]] if odoo.version == "19.0" else [OLD[1], "", OLD[1]]
    assert told(odoo) == dict.fromkeys(("ann", "bob", "cid"), expected)


def test_each_call_has_a_transaction_of_its_own(odoo: Odoo) -> None:
    for uuid in ("one", "two", "three"):
        odoo.add_call(uuid, OLD[1], "ann", "bob", "cid")
    odoo.placements = [NEW, KeyError("uuid"), ("third-uuid", NEW[1])]
    results = results_of(odoo, uuids=["one", "two", "three"])
    assert results == {"one": "moved", "three": "moved"}
    assert [call.sfu_channel_uuid for call in odoo.channels] == [NEW[0], "two", "third-uuid"]
    assert odoo.transactions == 3


def test_call_that_cannot_be_locked_is_left_out(odoo: Odoo) -> None:
    odoo.add_call(*OLD, "ann", "bob", "cid")
    odoo.locked = {OLD[0]}
    assert results_of(odoo) == {}
    assert odoo.bus == []


def test_lock_waits_for_joins_and_then_sees_them(odoo: Odoo) -> None:
    odoo.add_call(*OLD, "ann", "bob", "cid")
    odoo.placements = [NEW]
    results_of(odoo)
    isolation, timeout, lock = odoo.queries
    assert isolation == "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
    assert "lock_timeout" in timeout
    assert lock.endswith("FOR UPDATE")


def test_calls_beyond_the_time_of_a_request_are_left_out(odoo: Odoo, monkeypatch: pytest.MonkeyPatch) -> None:
    for uuid in ("one", "two"):
        odoo.add_call(uuid, OLD[1], "ann", "bob", "cid")
    odoo.placements = [NEW]
    readings = iter([0.0, 1.0, 21.0])
    monkeypatch.setattr(odoo.addon.models.time, "monotonic", lambda: next(readings))
    assert results_of(odoo, uuids=["one", "two"]) == {"one": "moved"}
    assert odoo.channels[1].sfu_channel_uuid == "two"


def test_guests_of_17_are_told_as_guests(monkeypatch: pytest.MonkeyPatch) -> None:
    odoo = load(monkeypatch, "17.0")
    odoo.add_call(*OLD, "ann", guests=("visitor",))
    assert results_of(odoo, available=False) == {OLD[0]: "p2p"}
    assert told(odoo) == {"ann": [""], "visitor": [""]}


def test_addon_depends_on_mail_alone_and_is_free() -> None:
    manifest = ast.literal_eval((ADDON_PATH / "__manifest__.py").read_text())
    assert manifest["depends"] == ["mail"]
    assert manifest["license"] == "LGPL-3"
    assert "LESSER GENERAL PUBLIC LICENSE" in (ADDON_PATH / "LICENSE").read_text()


def test_addon_stays_under_200_lines() -> None:
    assert sum(len(path.read_text().splitlines()) for path in ADDON_PATH.glob("*.py")) < 200
