"""The audit trail: who registered, who was refused, what operators did; nothing else, and no secret."""

import base64
import io
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.crypto.tokens import Key
from app.settings.model import RegistrationSettings, Settings
from app.settings.trusted_proxies import TrustedProxies
from tests.support.apps import PEER, running_app
from tests.support.logs import captured_logs

ADDRESS = "http://sfu1.example.com:8070"
KEY = base64.b64encode(b"the key of this SFU and no other").decode()
OTHER_KEY = base64.b64encode(b"the key of somebody else, really").decode()
REGISTRATION_KEY = Key(b"the registration key, 32 bytes..")
ADMIN_TOKEN = "the-operators-own"
SETTINGS = Settings(
    key=(Key(b"the gateway's own key, 32 bytes."),),
    admin_token=SecretStr(ADMIN_TOKEN),
    trust_proxy=TrustedProxies(hops=1),
    registration=RegistrationSettings(key=(REGISTRATION_KEY,), max_per_second=0.1, burst=5),
)


@pytest.fixture
def logs() -> Iterator[io.StringIO]:
    """All that is logged."""
    with captured_logs("info") as text:
        yield text


@pytest.fixture
async def client(logs: io.StringIO) -> AsyncIterator[httpx.AsyncClient]:
    """A caller of an empty gateway."""
    async with running_app(SETTINGS) as client:
        yield client


def events(logs: io.StringIO) -> list[dict[str, Any]]:
    """The audit lines so far, without what every log line has."""
    lines = [json.loads(line) for line in logs.getvalue().splitlines()]
    return [
        {name: value for name, value in line.items() if name not in ("event", "logger", "level", "timestamp")}
        for line in lines
        if line["event"] == "audit"
    ]


def actions(logs: io.StringIO) -> list[tuple[str, str | None]]:
    """What the audit lines say was done, with the code of a refusal."""
    return [(event["action"], event.get("code")) for event in events(logs)]


async def beat(client: httpx.AsyncClient, **changes: Any) -> httpx.Response:
    body = {"status": "up", "address": ADDRESS, "key": KEY} | changes
    token = REGISTRATION_KEY.sign({"exp": time.time() + 30})
    headers = {"Authorization": f"Bearer {token}", "X-Request-Id": "beat-1"}
    return await client.post("/v1/sfu", json=body, headers=headers)


async def operate(
    client: httpx.AsyncClient, action: str, address: str = ADDRESS, token: str = ADMIN_TOKEN
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}", "X-Request-Id": "operator-1"}
    return await client.post(f"/v1/admin/sfus/{action}", json={"address": address}, headers=headers)


# SFUs


async def test_a_registration_is_written_down_once_and_heartbeats_are_not(
    client: httpx.AsyncClient, logs: io.StringIO
) -> None:
    for _ in range(3):
        await beat(client, address="HTTP://SFU1.example.com:8070/")
    expected = {"action": "registered", "request_id": "beat-1", "client": PEER[0], "sfu": ADDRESS}
    assert events(logs) == [expected]


async def test_a_sign_off_is_written_down_once_and_the_next_life_again(
    client: httpx.AsyncClient, logs: io.StringIO
) -> None:
    for status in ("up", "down", "down", "up"):
        await beat(client, status=status)
    assert [action for action, _ in actions(logs)] == ["registered", "signed_off", "registered"]
    assert {event["sfu"] for event in events(logs)} == {ADDRESS}


async def test_an_sfu_that_is_reported_gone_did_not_sign_off(
    client: httpx.AsyncClient, logs: io.StringIO
) -> None:
    await beat(client)
    for _ in range(2):
        await beat(client, status="down", reason="unreachable")
    assert [action for action, _ in actions(logs)] == ["registered", "reported_gone"]
    [sfu] = (await client.get("/v1/health")).json()["sfus"]
    assert (sfu["status"], sfu["reason"]) == ("down", "unreachable")


async def test_a_refusal_has_its_code_and_the_address_where_it_is_known(
    client: httpx.AsyncClient, logs: io.StringIO
) -> None:
    await beat(client)
    await beat(client, key=OTHER_KEY)
    await beat(client, key=OTHER_KEY, status="down")
    await beat(client, address="http://169.254.169.254")
    await beat(client, address="http://user:password@sfu1.example.com")
    await beat(client, key="not base64!")
    refusals = [(event["code"], event.get("sfu")) for event in events(logs)[1:]]
    assert refusals == [
        ("address_leased", ADDRESS),
        ("address_leased", ADDRESS),
        ("address_not_allowed", "http://169.254.169.254"),
        ("invalid_field", None),
        ("invalid_field", ADDRESS),
    ]
    assert {event["action"] for event in events(logs)[1:]} == {"registration_refused"}


async def test_whoever_sends_too_often_is_written_down(client: httpx.AsyncClient, logs: io.StringIO) -> None:
    for _ in range(6):
        await beat(client)
    assert actions(logs) == [("registered", None), ("registration_refused", "rate_limited")]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "credentials_missing"),
        ({"Authorization": "Bearer x.y.z"}, "credentials_invalid"),
        ({"Authorization": f"Bearer {REGISTRATION_KEY.sign({'exp': 1})}"}, "credentials_expired"),
    ],
)
async def test_a_stranger_is_written_down_by_the_address_that_the_proxy_saw(
    client: httpx.AsyncClient, logs: io.StringIO, headers: dict[str, str], code: str
) -> None:
    forwarded = {"X-Forwarded-For": "10.9.9.9, 203.0.113.5"}
    await client.post("/v1/sfu", content=b"{}", headers=headers | forwarded)
    (event,) = events(logs)
    assert len(event.pop("request_id")) == 32
    assert event == {"action": "registration_refused", "code": code, "client": "203.0.113.5"}


async def test_a_closed_route_is_written_down(logs: io.StringIO) -> None:
    async with running_app(Settings(key=SETTINGS.key)) as client:
        await beat(client)
        await operate(client, "drain")
    assert actions(logs) == [("registration_refused", "closed"), ("admin_refused", "closed")]


# Operators


@pytest.mark.parametrize("action", ["drain", "resume", "reset", "forget"])
async def test_what_an_operator_does_is_written_down(
    client: httpx.AsyncClient, logs: io.StringIO, action: str
) -> None:
    await beat(client)
    assert (await operate(client, action)).is_success
    expected = {"action": action, "request_id": "operator-1", "client": PEER[0], "sfu": ADDRESS}
    assert events(logs)[1:] == [expected]


async def test_what_was_not_done_is_not(client: httpx.AsyncClient, logs: io.StringIO) -> None:
    assert (await operate(client, "drain", "http://nobody.example.com")).status_code == 404
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    assert (await client.get("/v1/admin/explain", headers=headers)).is_success
    assert events(logs) == []


async def test_a_refused_operator_is_written_down_as_a_warning(
    client: httpx.AsyncClient, logs: io.StringIO
) -> None:
    await operate(client, "forget", token="a-guess")
    await client.get("/v1/admin/explain")
    assert actions(logs) == [
        ("admin_refused", "credentials_invalid"),
        ("admin_refused", "credentials_missing"),
    ]
    levels = [json.loads(line)["level"] for line in logs.getvalue().splitlines() if '"audit"' in line]
    assert levels == ["warning", "warning"]


async def test_no_key_and_no_token_is_in_any_line(client: httpx.AsyncClient, logs: io.StringIO) -> None:
    await beat(client)
    await beat(client, key=OTHER_KEY)
    await beat(client, address=f"http://{KEY}@sfu1.example.com")
    await operate(client, "drain")
    await operate(client, "drain", token="a-guess")
    assert len(events(logs)) == 5
    for secret in (KEY, OTHER_KEY, ADMIN_TOKEN, "a-guess", "eyJ"):
        assert secret not in logs.getvalue()
