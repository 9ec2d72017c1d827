"""The addon's reading of the gateway's message: who may send one, and what it may hold."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest

from app.crypto.tokens import Key
from tests.integrations.odoo import KEY, Odoo
from trial.message import rescue_token

UUID = "31dcc5dc-4d26-453e-9bca-ab1f5d268303"


def claims(**changes: Any) -> dict[str, Any]:
    """A good message's claims, with these changes; None removes one."""
    good = {
        "aud": "sfu-gateway-rescue",
        "iss": "sfu-gateway",
        "exp": time.time() + 60,
        "jti": "1",
        "reason": "down",
        "uuids": [UUID],
        "available": True,
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def post(odoo: Odoo, key: str = KEY, **changes: Any) -> tuple[int, Any]:
    """Sign and post a message as the gateway does."""
    return odoo.post(Key.from_base64(key).sign(claims(**changes)).encode())


def signed_by_hand(header: bytes, payload: bytes, secret: bytes) -> bytes:
    """A token whose parts need not be JSON."""
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload))
    signature = hmac.digest(secret, signed, hashlib.sha256)
    return signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")


def test_message_of_the_gateway_is_believed(odoo: Odoo) -> None:
    token = rescue_token(Key.from_base64(KEY), [UUID], "down", available=True, now=time.time())
    assert odoo.post(token.encode()) == (200, {"results": {UUID: "kept"}})


@pytest.mark.parametrize(
    "text", [KEY.rstrip("="), f" {KEY}\n", base64.urlsafe_b64encode(b"\xff" * 32).decode()]
)
def test_key_is_read_as_odoo_reads_it(odoo: Odoo, text: str) -> None:
    odoo.key = text
    status, _ = post(odoo, key=text)
    assert status == 200


def test_message_with_another_key_is_refused(odoo: Odoo) -> None:
    status, document = post(odoo, key=base64.b64encode(b"another key").decode())
    assert status == 401
    assert "SFU key" in document["error"]


@pytest.mark.parametrize("key", [None, "", "=", "é"])
def test_database_without_a_key_believes_nobody(odoo: Odoo, key: str | None) -> None:
    odoo.key = key
    token = signed_by_hand(b'{"alg":"HS256"}', json.dumps(claims()).encode(), b"")
    assert odoo.post(token)[0] == 401


@pytest.mark.parametrize("body", [b"", b".", b"..", b"a.b.c", b"\xff\xfe", b"not a token", b"a.b.c.d"])
def test_body_that_is_no_token_is_refused(odoo: Odoo, body: bytes) -> None:
    assert odoo.post(body)[0] == 401


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        (b'{"alg":"none"}', b"{}"),
        (b'{"alg":"HS512"}', b"{}"),
        (b"[]", b"{}"),
        (b"not json", b"{}"),
        (b'{"alg":"HS256"}', b"not json"),
        (b'{"alg":"HS256"}', b"[]"),
        (b'{"alg":"HS256"}', b"[" * 5000),
    ],
)
def test_signed_token_that_is_malformed_is_refused(odoo: Odoo, header: bytes, payload: bytes) -> None:
    assert odoo.post(signed_by_hand(header, payload, base64.b64decode(KEY)))[0] == 401


def test_token_with_a_changed_claim_is_refused(odoo: Odoo) -> None:
    header, _, signature = Key.from_base64(KEY).sign(claims()).split(".")
    forged = base64.urlsafe_b64encode(json.dumps(claims(reason="drain")).encode()).decode().rstrip("=")
    assert odoo.post(f"{header}.{forged}.{signature}".encode())[0] == 401


@pytest.mark.parametrize(
    "aud", [None, "", "sfu-gateway", ["sfu-gateway-rescue"], "https://odoo.example:channel:1"]
)
def test_token_for_something_else_is_refused(odoo: Odoo, aud: Any) -> None:
    assert post(odoo, aud=aud)[0] == 401


def test_token_of_another_issuer_is_refused(odoo: Odoo) -> None:
    assert post(odoo, iss="https://odoo.example:channel:1")[0] == 401


@pytest.mark.parametrize("offset_s", [-31, -3600, 301, 8 * 3600])
def test_token_outside_its_time_is_refused(odoo: Odoo, offset_s: float) -> None:
    status, document = post(odoo, exp=time.time() + offset_s)
    assert status == 401
    assert "clocks" in document["error"]


@pytest.mark.parametrize("exp", [None, True, "9999999999", float("nan"), float("inf"), 10**400])
def test_token_without_a_usable_expiry_is_refused(odoo: Odoo, exp: Any) -> None:
    payload = json.dumps(claims(exp=exp)).encode()
    assert odoo.post(signed_by_hand(b'{"alg":"HS256"}', payload, base64.b64decode(KEY)))[0] == 401


@pytest.mark.parametrize("offset_s", [-25, 0, 60, 295])
def test_clocks_may_differ_a_little(odoo: Odoo, offset_s: float) -> None:
    assert post(odoo, exp=time.time() + offset_s)[0] == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": None},
        {"reason": "tired"},
        {"reason": ["down"]},
        {"uuids": None},
        {"uuids": []},
        {"uuids": UUID},
        {"uuids": {UUID: 1}},
        {"uuids": [UUID, 1]},
        {"uuids": [""]},
        {"uuids": ["x" * 65]},
        {"uuids": [f"{number}" for number in range(51)]},
        {"available": None},
        {"available": 1},
    ],
)
def test_message_that_names_no_calls_properly_is_unprocessable(odoo: Odoo, changes: dict[str, Any]) -> None:
    status, document = post(odoo, **changes)
    assert status == 422
    assert document["error"].split(":")[0] in {"reason", "uuids", "available"}


def test_message_of_fifty_calls_fits(odoo: Odoo) -> None:
    uuids = [f"{number:064}" for number in range(50)]
    assert post(odoo, uuids=uuids) == (200, {"results": dict.fromkeys(uuids, "kept")})


def test_long_body_is_refused_unread(odoo: Odoo) -> None:
    assert odoo.post(b"", content_length=8 * 1024 + 1)[0] == 413


def test_long_body_without_a_length_is_refused_unparsed(odoo: Odoo) -> None:
    assert odoo.post(b"x" * (8 * 1024 + 1), content_length=0)[0] == 413


def test_refused_message_opens_no_transaction(odoo: Odoo) -> None:
    odoo.add_call(UUID, "https://sfu1", "a", "b", "c")
    post(odoo, key=base64.b64encode(b"another key").decode())
    assert (odoo.transactions, odoo.bus) == (0, [])
