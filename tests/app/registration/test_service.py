"""`POST /v1/sfu`: who may register, what a heartbeat may say, what is answered."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.crypto.tokens import Key
from app.errors import InvalidField, MalformedBody
from app.registration.service import HeartbeatBody, read_heartbeat
from app.settings.model import RegistrationSettings, Settings
from tests.support.apps import running_app
from tests.support.simulated import running_sfu
from workers.simulator.faults import Delay, Refuse, Status

KEY = Key(b"the gateway's own key, 32 bytes.")
REGISTRATION = Key(b"the registration key, 32 bytes..")
OLDER = Key(b"the one before it, 32 bytes.....")
SETTINGS = Settings(key=(KEY,), registration=RegistrationSettings(key=(REGISTRATION, OLDER)))

HEARTBEAT: dict[str, Any] = {
    "status": "up",
    "address": "http://sfu1.example.com:8070",
    "region": "eu-west",
    "key": base64.b64encode(b"the key of this SFU and no other").decode(),
    "channels": 12,
    "sessions": 45,
    "cpuUsage": 0.35,
    "memoryUsage": 0.48,
}
"""The roadmap's, to the letter."""


def bearer(key: Key = REGISTRATION, **claims: Any) -> dict[str, str]:
    """Headers with a token that is good for 30 s unless `claims` say otherwise."""
    every = {"exp": time.time() + 30} | claims
    return {"Authorization": f"Bearer {key.sign(every)}"}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """A client of an empty gateway."""
    async with running_app(SETTINGS) as client:
        yield client


async def beat(client: httpx.AsyncClient, **changes: Any) -> httpx.Response:
    return await client.post("/v1/sfu", json=HEARTBEAT | changes, headers=bearer())


async def fleet(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    sfus: list[dict[str, Any]] = (await client.get("/v1/health")).json()["sfus"]
    return sfus


async def test_the_roadmaps_heartbeat_registers_an_sfu(client: httpx.AsyncClient) -> None:
    response = await beat(client)
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "nextPingMs": 10_000, "draining": False}
    [sfu] = await fleet(client)
    shown = {"address": "http://sfu1.example.com:8070", "region": "eu-west", "channels": 12, "sessions": 45}
    assert sfu.items() >= shown.items()
    assert (sfu["cpuUsage"], sfu["memoryUsage"]) == (0.35, 0.48)


async def test_the_next_heartbeat_brings_the_new_figures(client: httpx.AsyncClient) -> None:
    await beat(client)
    await beat(client, sessions=50, maxSessions=200, future={"unknown": "field"})
    [sfu] = await fleet(client)
    assert (sfu["sessions"], sfu["maxSessions"]) == (50, 200)


async def test_a_sign_off_removes_the_sfu_at_once(client: httpx.AsyncClient) -> None:
    await beat(client)
    assert (await beat(client, status="down")).status_code == 200
    assert [sfu["status"] for sfu in await fleet(client)] == ["down"]


async def test_a_sign_off_of_one_that_was_never_there_is_no_error(client: httpx.AsyncClient) -> None:
    assert (await beat(client, status="down")).status_code == 200


async def test_only_status_address_and_key_are_needed(client: httpx.AsyncClient) -> None:
    least = {name: HEARTBEAT[name] for name in ("status", "address", "key")}
    assert (await client.post("/v1/sfu", json=least, headers=bearer())).status_code == 200
    assert (await fleet(client))[0]["region"] == "default"


async def test_an_sfu_that_wants_to_drain_hears_that_it_does(client: httpx.AsyncClient) -> None:
    assert (await beat(client, draining=True)).json()["draining"]


async def test_usage_above_one_counts_as_one(client: httpx.AsyncClient) -> None:
    assert (await beat(client, cpuUsage=3.7)).status_code == 200
    assert (await fleet(client))[0]["cpuUsage"] == 1


# Checks


async def check(client: httpx.AsyncClient, address: str, key: Key) -> dict[str, Any]:
    answer = await beat(client, status="check", address=address, key=key.to_base64())
    assert answer.status_code == 200
    document: dict[str, Any] = answer.json()["checks"]
    return document


async def test_a_check_tries_the_sfu_and_its_key_and_registers_nothing(client: httpx.AsyncClient) -> None:
    async with running_sfu() as (sfu, _):
        right = await check(client, sfu.address, sfu.config.key)
        wrong = await check(client, sfu.address, Key(b"some other key"))
        assert (right, wrong) == (
            {"reachable": True, "keyAccepted": True},
            {"reachable": True, "keyAccepted": False},
        )
        assert sfu.channels.by_uuid == {}
        await sfu.set_fault(Status(status=500))
        assert await check(client, sfu.address, KEY) == {"reachable": True, "keyAccepted": None}
        await sfu.set_fault(Refuse())
        assert await check(client, sfu.address, KEY) == {"reachable": False, "keyAccepted": None}
    assert await fleet(client) == []


async def test_checks_are_bounded(client: httpx.AsyncClient) -> None:
    async with running_sfu() as (sfu, _):
        await sfu.set_fault(Delay(ms=300))
        answers = await asyncio.gather(
            *(beat(client, status="check", address=sfu.address) for _ in range(12))
        )
    assert {answer.status_code for answer in answers} == {200, 429}


@pytest.mark.parametrize(
    ("iat", "exp", "difference"), [(-3600, -3540, -3600), (3600, 3660, 3600), (400, 460, 400)]
)
async def test_a_refusal_for_time_says_by_how_much_the_clocks_differ(
    client: httpx.AsyncClient, iat: int, exp: int, difference: int
) -> None:
    now = int(time.time())
    headers = bearer(iat=now + iat, exp=now + exp)
    problem = (await client.post("/v1/sfu", json=HEARTBEAT, headers=headers)).json()
    assert problem["status"] == 401
    assert abs(problem["clockDifferenceSeconds"] - difference) <= 2
    assert "clock" in problem["detail"]


async def test_a_key_may_have_line_breaks_as_openssl_writes_them(client: httpx.AsyncClient) -> None:
    text = base64.encodebytes(bytes(range(64))).decode()
    assert "\n" in text.strip()
    assert (await beat(client, key=text)).status_code == 200
    assert (await beat(client, key=text.replace("\n", ""))).status_code == 200


async def test_a_key_has_a_bound(client: httpx.AsyncClient) -> None:
    assert (await beat(client, key="QUJD" * 1024)).status_code == 200
    problem = (await beat(client, key="QUJD" * 1025)).json()
    assert (problem["status"], problem["field"]) == (422, "key")
    assert "QUJD" not in problem["detail"]


@pytest.mark.parametrize("instance", ["9f86d081884c7d65", "sfu-1.a_b", None])
async def test_an_sfu_may_name_its_process(client: httpx.AsyncClient, instance: str | None) -> None:
    assert (await beat(client, instance=instance)).status_code == 200


@pytest.mark.parametrize("instance", ["", "two words", "x" * 65, 7, ["a"]])
async def test_an_instance_that_is_no_name_is_refused(client: httpx.AsyncClient, instance: object) -> None:
    problem = (await beat(client, instance=instance)).json()
    assert (problem["status"], problem["field"]) == (422, "instance")


async def test_an_address_is_leased_to_its_key(client: httpx.AsyncClient) -> None:
    other = base64.b64encode(b"the key of somebody else, really").decode()
    await beat(client)
    for status in ("up", "down"):
        refused = await beat(client, key=other, status=status, address="HTTP://SFU1.example.com:8070/")
        assert (refused.status_code, refused.json()["code"]) == (409, "address_leased")
    await beat(client, status="down")
    assert (await beat(client, key=other)).status_code == 200


async def test_an_address_that_sends_too_often_is_told_to_wait() -> None:
    registration = RegistrationSettings(key=(REGISTRATION,), max_per_second=0.1, burst=2)
    async with running_app(Settings(key=(KEY,), registration=registration)) as client:
        responses = [await beat(client) for _ in range(3)]
        assert [response.status_code for response in responses] == [200, 200, 429]
        assert responses[2].json()["code"] == "rate_limited"
        assert int(responses[2].headers["Retry-After"]) >= 1
        assert (await beat(client, address="http://sfu2:8070")).status_code == 200


# Who may register


@pytest.mark.parametrize("key", [REGISTRATION, OLDER])
async def test_every_registration_key_opens_the_route(client: httpx.AsyncClient, key: Key) -> None:
    response = await client.post("/v1/sfu", json=HEARTBEAT, headers=bearer(key))
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        pytest.param({}, "credentials_missing", id="none"),
        pytest.param({"Authorization": "Bearer"}, "credentials_missing", id="no token"),
        pytest.param({"Authorization": "Bearer x.y.z"}, "credentials_invalid", id="no JWT"),
        pytest.param(bearer(KEY), "credentials_invalid", id="the gateway's own key"),
        pytest.param(bearer(exp=1), "credentials_expired", id="expired"),
        pytest.param(bearer(exp=None), "credentials_invalid", id="without exp"),
        pytest.param(bearer(exp=time.time() + 3600), "credentials_invalid", id="too long a life"),
        pytest.param(bearer(exp=10**400), "credentials_invalid", id="an endless life"),
    ],
)
async def test_without_a_good_token_nobody_registers(
    client: httpx.AsyncClient, headers: dict[str, str], code: str
) -> None:
    response = await client.post("/v1/sfu", json=HEARTBEAT, headers=headers)
    assert (response.status_code, response.json()["code"]) == (401, code)
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert await fleet(client) == []


async def test_a_token_may_live_five_minutes(client: httpx.AsyncClient) -> None:
    headers = bearer(exp=time.time() + 300)
    assert (await client.post("/v1/sfu", json=HEARTBEAT, headers=headers)).status_code == 200


async def test_without_a_registration_key_the_route_is_closed() -> None:
    async with running_app(Settings(key=(KEY,))) as client:
        response = await beat(client)
        assert (response.status_code, response.json()["code"]) == (403, "closed")


async def test_an_operator_can_let_anybody_register() -> None:
    settings = Settings(key=(KEY,), registration=RegistrationSettings(auth="none"))
    async with running_app(settings) as client:
        assert (await client.post("/v1/sfu", json=HEARTBEAT)).status_code == 200


async def test_only_addresses_of_the_pattern_register() -> None:
    registration = RegistrationSettings(key=(REGISTRATION,), allow=("http://10.0.*",))
    async with running_app(Settings(key=(KEY,), registration=registration)) as client:
        refused = await beat(client)
        assert (refused.status_code, refused.json()["code"]) == (403, "address_not_allowed")
        assert (await beat(client, address="http://10.0.7.1:8070")).status_code == 200


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[::ffff:169.254.169.254]", "0.0.0.0", "100.100.100.200"]
)
async def test_a_metadata_service_is_no_sfu(client: httpx.AsyncClient, host: str) -> None:
    response = await beat(client, address=f"http://{host}")
    assert (response.status_code, response.json()["code"]) == (403, "address_not_allowed")


# What a heartbeat may say


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"5", b"null", b"\xff", b"[" * 50_000, b'{"a": ' + b"9" * 5000]
)
async def test_a_body_that_is_no_json_object_is_malformed(client: httpx.AsyncClient, raw: bytes) -> None:
    response = await client.post("/v1/sfu", content=raw, headers=bearer())
    assert (response.status_code, response.json()["code"]) == (400, "malformed")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("status", "sideways"), ("status", None), ("address", "sfu1:8070"), ("address", 5)),
        *(("address", "http://sfu1/path"), ("address", "http://user:s3cret@sfu1"), ("address", "ftp://sfu1")),
        *(("key", ""), ("key", "s3cret!"), ("key", 5), ("region", "eu west"), ("region", "x" * 65)),
        *(("region", "eu-west\n"), ("channels", -1), ("sessions", 1.5), ("sessions", 10**10)),
        *(("sessions", True), ("sessions", "12"), ("channels", "12"), ("channels", 1.0), ("cpuUsage", "0.5")),
        *(("cpuUsage", True), ("maxSessions", "100"), ("draining", 1), ("draining", "true"), ("region", 5)),
        *(("sessions", "many"), ("cpuUsage", -0.1), ("cpuUsage", "high"), ("memoryUsage", None)),
        *(("maxSessions", 0), ("publicUrl", "s3cret"), ("publicUrl", "https://sfu/path"), ("draining", "si")),
    ],
)
async def test_a_wrong_field_is_named_and_not_repeated(
    client: httpx.AsyncClient, field: str, value: object
) -> None:
    response = await beat(client, **{field: value})
    problem = response.json()
    assert (response.status_code, problem["code"], problem["field"]) == (422, "invalid_field", field)
    assert problem["detail"].startswith(f"{field}: ")
    assert "s3cret" not in response.text
    assert await fleet(client) == []


async def test_a_whole_number_is_a_usage_as_well(client: httpx.AsyncClient) -> None:
    assert (await beat(client, cpuUsage=1, memoryUsage=0)).status_code == 200


@pytest.mark.parametrize("subject", [HEARTBEAT["address"], "HTTP://SFU1.example.com.:8070/"])
async def test_a_token_that_is_bound_to_the_address_registers_it(
    client: httpx.AsyncClient, subject: str
) -> None:
    answer = await client.post("/v1/sfu", json=HEARTBEAT, headers=bearer(sub=subject))
    assert answer.status_code == 200


@pytest.mark.parametrize("status", ["up", "down"])
@pytest.mark.parametrize(
    "subject", ["http://sfu2.example.com:8070", "http://sfu1.example.com", "sfu1", "", 5, None]
)
async def test_a_token_that_is_bound_to_another_address_is_refused(
    client: httpx.AsyncClient, subject: object, status: str
) -> None:
    await beat(client)
    answer = await client.post("/v1/sfu", json=HEARTBEAT | {"status": status}, headers=bearer(sub=subject))
    assert (answer.status_code, answer.json()["code"]) == (401, "credentials_invalid")
    assert [sfu["status"] for sfu in await fleet(client)] == ["up"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_a_usage_that_is_no_number_is_refused(client: httpx.AsyncClient, number: str) -> None:
    raw = json.dumps(HEARTBEAT).replace("0.35", number)
    response = await client.post("/v1/sfu", content=raw, headers=bearer())
    assert (response.status_code, response.json().get("field")) == (422, "cpuUsage")


@pytest.mark.parametrize("field", ["status", "address", "key"])
async def test_a_missing_field_is_named(client: httpx.AsyncClient, field: str) -> None:
    less = {name: value for name, value in HEARTBEAT.items() if name != field}
    response = await client.post("/v1/sfu", json=less, headers=bearer())
    assert (response.status_code, response.json()["field"]) == (422, field)


async def test_64_kib_are_read_and_not_one_byte_more(client: httpx.AsyncClient) -> None:
    raw = json.dumps(HEARTBEAT).encode()
    good = await client.post("/v1/sfu", content=raw.ljust(65_536), headers=bearer())
    assert good.status_code == 200
    too_large = await client.post("/v1/sfu", content=raw.ljust(65_537), headers=bearer())
    assert (too_large.status_code, too_large.json()["code"]) == (413, "too_large")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(HeartbeatBody.model_fields)), json_values))
def test_no_document_whatever_is_worse_than_a_wrong_field(changes: dict[str, object]) -> None:
    with suppress(InvalidField, MalformedBody):
        assert read_heartbeat(json.dumps(HEARTBEAT | changes).encode()).status in ("up", "down")
