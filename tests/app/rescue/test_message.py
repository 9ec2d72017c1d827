"""The message to Odoo keeps the contract of docs/rescue.md, and its answer is read with care."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from app.crypto.tokens import Key
from app.rescue.message import MAX_UUID_CHARACTERS, MAX_UUIDS, rescue_token, results_in

KEY = Key(b"the gateway key of the tests, 32 bytes")
NOW = 1_750_000_000.0
ADDON = Path(__file__).parents[3] / "integrations" / "odoo" / "sfu_gateway_rescue" / "message.py"


@pytest.fixture
def addon() -> ModuleType:
    """The addon's own reader of messages, which needs no Odoo."""
    spec = importlib.util.spec_from_file_location("addon_message", ADDON)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_message_has_the_claims_of_the_contract() -> None:
    claims = KEY.claims_of(rescue_token(KEY, "unreachable", ["one", "two"], available=False, now=NOW))
    assert len(str(claims.pop("jti"))) == 32
    assert claims == {
        "iss": "sfu-gateway",
        "aud": "sfu-gateway-rescue",
        "exp": NOW + 60,
        "reason": "unreachable",
        "uuids": ["one", "two"],
        "available": False,
    }


def test_the_longest_message_fits_into_the_body_that_odoo_reads() -> None:
    uuids = [f"{number:0{MAX_UUID_CHARACTERS}}" for number in range(MAX_UUIDS)]
    assert len(rescue_token(KEY, "unreachable", uuids, available=True, now=NOW)) <= 8 * 1024


def test_the_addon_takes_the_limits_of_the_gateway(addon: ModuleType) -> None:
    assert (addon.MAX_CALLS, addon.MAX_UUID_CHARACTERS) == (MAX_UUIDS, MAX_UUID_CHARACTERS)
    assert set(addon.REASONS) == {"down", "unreachable", "restarted", "drain"}


def test_results_that_no_contract_knows_are_left_out() -> None:
    body = json.dumps({"results": {"a": "moved", "b": "kept", "c": "p2p", "d": "failed", "e": 1, "f": None}})
    assert results_in(body.encode()) == {"a": "moved", "b": "kept", "c": "p2p"}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"results": []}', b"{}", b"[" * 100_000, b"\xff"])
def test_what_is_not_the_addons_answer_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        results_in(body)
