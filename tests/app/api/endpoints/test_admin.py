"""The operators' routes: closed to everybody else, careful with what they are told."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.crypto.tokens import Key
from app.registry.client import close_client, embedded_client
from app.registry.placements import ForwardOutcome, Placement, PlacementRequest
from app.registry.registry import Registry
from app.registry.scripts import RedisClient
from app.registry.sfus import SfuReport
from app.settings.model import RescueSettings, Settings, TenantSettings
from tests.lua.fleet import A, B
from tests.support.apps import running_app
from tests.support.calls import call_id, placed_at

TOKEN = "the-operators-own"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
SETTINGS = Settings(
    key=(Key(b"the key that Odoo and the gateway share"),),
    admin_token=SecretStr(TOKEN),
    tenant=(TenantSettings(name="brussels", key=(Key(b"the key of another Odoo, 32 bytes"),), region="us"),),
)
ROUTES = [
    ("GET", "/v1/admin/explain"),
    *(("POST", f"/v1/admin/sfus/{action}") for action in ("drain", "resume", "reset", "forget")),
]


@pytest.fixture
async def embedded() -> AsyncIterator[RedisClient]:
    """A Redis with A in `eu`, somewhat busy, and B in `us`, idle."""
    client = embedded_client()
    registry = Registry.from_settings(client, SETTINGS)
    key = Key(b"the key of both SFUs")
    await registry.registrations.heartbeat(SfuReport(A, "eu", key, sessions=100, cpu=0.5, memory=0.5))
    await registry.registrations.heartbeat(SfuReport(B, "us", key))
    yield client
    await close_client(client)


@pytest.fixture
async def client(embedded: RedisClient) -> AsyncIterator[httpx.AsyncClient]:
    """An operator."""
    async with running_app(SETTINGS, embedded) as client:
        client.headers.update(ADMIN)
        yield client


@pytest.fixture
def registry(embedded: RedisClient) -> Registry:
    """What operators change."""
    return Registry.from_settings(embedded, SETTINGS)


# Who may


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_without_a_token_in_the_settings_the_routes_are_closed(method: str, path: str) -> None:
    async with running_app(Settings(key=SETTINGS.key)) as client:
        for headers in ({}, ADMIN, {"Authorization": "Bearer None"}):
            answer = await client.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "closed")


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "credentials_missing"),
        ("Bearer", "credentials_missing"),
        ("Bearer another", "credentials_invalid"),
        ("Bearer the-operators-ow", "credentials_invalid"),
        ("Bearer ünwise", "credentials_invalid"),
    ],
)
async def test_nobody_else_passes(
    client: httpx.AsyncClient,
    registry: Registry,
    method: str,
    path: str,
    authorization: str | None,
    code: str,
) -> None:
    del client.headers["Authorization"]
    headers = {} if authorization is None else {b"Authorization": authorization.encode()}
    answer = await client.request(method, path, headers=headers, content=f'{{"address": "{A}"}}')
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert (await registry.fleet.describe(A)).state == "selectable"


@pytest.mark.parametrize("action", ["drain", "resume", "reset", "forget"])
async def test_nothing_is_changed_by_get(client: httpx.AsyncClient, action: str) -> None:
    assert (await client.get(f"/v1/admin/sfus/{action}", params={"address": A})).status_code == 405


# Drain, resume, forget


async def test_a_drain_is_begun_and_taken_back(client: httpx.AsyncClient, registry: Registry) -> None:
    answer = await client.post("/v1/admin/sfus/drain", json={"address": A})
    assert answer.json() == {"status": "ok", "address": A}
    status = await registry.fleet.describe(A)
    assert (status.state, status.drain_until) == ("draining", 0)
    await client.post("/v1/admin/sfus/resume", json={"address": A})
    assert (await registry.fleet.describe(A)).state == "selectable"


async def test_a_reset_ends_an_ejection(client: httpx.AsyncClient, registry: Registry) -> None:
    request = PlacementRequest(id="one", call=call_id("a call"), groups=(("eu",),))
    assert isinstance(await registry.select(request), Placement)
    await registry.record_outcome(ForwardOutcome("one", call_id("a call"), placed_at(A), "failed"))
    assert (await registry.fleet.describe(A)).state == "ejected"
    answer = await client.post("/v1/admin/sfus/reset", json={"address": A})
    assert answer.json() == {"status": "ok", "address": A}
    assert (await registry.fleet.describe(A)).state == "selectable"


async def test_a_drain_that_moves_calls_needs_the_rescue(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/admin/sfus/drain", json={"address": A, "move": True})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert answer.json()["detail"].startswith("move: ")
    answer = await client.post("/v1/admin/sfus/drain", json={"address": A, "move": "yes"})
    assert answer.status_code == 422


async def test_a_drain_moves_calls_where_an_odoo_may_be_told(embedded: RedisClient) -> None:
    settings = SETTINGS.model_copy(update={"rescue": RescueSettings(allow=("https://odoo.example.com",))})
    registry = Registry.from_settings(embedded, settings)
    async with running_app(settings, embedded) as client:
        order = {"address": A, "move": True}
        assert (await client.post("/v1/admin/sfus/drain", json=order, headers=ADMIN)).status_code == 200
        health = (await client.get("/v1/health", headers={"Accept": "application/json"})).json()
    [(_, event)] = await registry.outbox.newest_events(1)
    assert (event["type"], event["reason"], event["address"]) == ("moving", "drain", A)
    moves = {sfu["address"]: sfu.get("moves") for sfu in health["sfus"]}
    assert moves == {A: {"left": 0, "moved": 0, "kept": 0, "failed": 0}, B: None}


async def test_a_drain_may_have_a_deadline(client: httpx.AsyncClient, registry: Registry) -> None:
    await client.post("/v1/admin/sfus/drain", json={"address": A, "deadlineMs": 60_000})
    status = await registry.fleet.describe(A)
    assert status.drain_until - (status.registered_at + status.heartbeat_age_ms) == pytest.approx(
        60_000, abs=5_000
    )


@pytest.mark.parametrize("deadline", [-1, 30 * 24 * 3600 * 1000 + 1, 1.5, "1000", None, True, [], 10**30])
async def test_a_deadline_is_a_whole_number_of_milliseconds_up_to_thirty_days(
    client: httpx.AsyncClient, registry: Registry, deadline: object
) -> None:
    answer = await client.post("/v1/admin/sfus/drain", json={"address": A, "deadlineMs": deadline})
    assert (answer.status_code, answer.json()["field"]) == (422, "deadlineMs")
    assert (await registry.fleet.describe(A)).state == "selectable"


async def test_an_sfu_is_forgotten(client: httpx.AsyncClient, registry: Registry) -> None:
    assert (await client.post("/v1/admin/sfus/forget", json={"address": A})).status_code == 200
    assert [status.address for status in await registry.fleet.sfus()] == [B]


@pytest.mark.parametrize("action", ["drain", "resume", "reset", "forget"])
class TestCommands:
    """What all three have in common."""

    async def test_an_address_may_be_written_in_other_ways(
        self, client: httpx.AsyncClient, action: str
    ) -> None:
        answer = await client.post(
            f"/v1/admin/sfus/{action}", json={"address": A.upper().replace("HTTP", "http") + "/"}
        )
        assert (answer.status_code, answer.json()["address"]) == (200, A)

    async def test_an_unknown_sfu_is_an_error(self, client: httpx.AsyncClient, action: str) -> None:
        answer = await client.post(f"/v1/admin/sfus/{action}", json={"address": "http://nobody.test"})
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_sfu")

    @pytest.mark.parametrize("address", [None, 5, "", "sfu1", "ftp://a.test", "http://a.test/path"])
    async def test_so_is_what_is_no_address(
        self, client: httpx.AsyncClient, action: str, address: object
    ) -> None:
        answer = await client.post(f"/v1/admin/sfus/{action}", json={"address": address})
        assert (answer.status_code, answer.json()["field"]) == (422, "address")

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"http://a.test"', b"\xff", b"[" * 50_000])
    async def test_so_is_what_is_no_object(self, client: httpx.AsyncClient, action: str, body: bytes) -> None:
        answer = await client.post(f"/v1/admin/sfus/{action}", content=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


# Explain


async def explained(client: httpx.AsyncClient, **query: str) -> dict[str, Any]:
    """The answer's document."""
    answer = await client.get("/v1/admin/explain", params=query)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def test_an_explanation_shows_every_candidate_with_the_terms_of_its_score(
    client: httpx.AsyncClient,
) -> None:
    document = await explained(client)
    assert document["groups"] == [["*"]]
    idle, busy = document["candidates"]
    assert (idle["address"], idle["verdict"], idle["score"]) == (B, "chosen", 0)
    assert busy == {
        "address": A,
        "region": "eu",
        "verdict": "higher-score",
        "state": "selectable",
        "reason": "",
        "hasCall": False,
        "errors": 0,
        "lastError": "",
        "score": pytest.approx(0.05 + 0.15 + 0.1),
        "terms": {"sessions": 0.05, "cpu": 0.15, "memory": 0.1, "promised": 0},
        "sessions": 100,
        "reserved": 0,
        "maxSessions": 1_000,
        "group": 1,
    }


async def test_it_follows_the_hints_of_the_request_and_of_the_tenant(client: httpx.AsyncClient) -> None:
    document = await explained(client, region="eu")
    assert (document["groups"], document["hint"]["region"]) == ([["eu"], ["*"]], "eu")
    assert [(each["address"], each["verdict"]) for each in document["candidates"]] == [
        (A, "chosen"),
        (B, "other-region"),
    ]
    assert (await explained(client, tenant="brussels"))["hint"]["region"] == "us"


async def test_it_changes_nothing(client: httpx.AsyncClient, registry: Registry) -> None:
    before = await registry.fleet.sfus()
    await explained(client, issuer="issuer")
    assert [status.reserved for status in await registry.fleet.sfus()] == [
        status.reserved for status in before
    ]


async def test_an_unknown_tenant_is_an_error(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/admin/explain", params={"tenant": "nobody"})
    assert (answer.status_code, answer.json()["field"]) == (422, "tenant")


# Without Redis


@contextmanager
def cut(embedded: RedisClient) -> Iterator[None]:
    """Redis does not answer inside the block."""
    server = embedded.connection_pool.connection_kwargs["server"]  # type: ignore[union-attr]
    server.connected = False
    yield
    server.connected = True


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_without_redis_there_is_nothing_to_operate_on(
    client: httpx.AsyncClient, embedded: RedisClient, method: str, path: str
) -> None:
    with cut(embedded):
        answer = await client.request(method, path, json={"address": A})
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert answer.headers["retry-after"]
