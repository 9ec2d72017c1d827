"""What monitoring and load balancers see."""

import asyncio
import json
import time
from typing import Any

import pytest
from pydantic import SecretStr

from app.crypto.tokens import Key
from app.errors import RegistryUnavailable
from app.main import create_app
from app.registry.client import close_client, connect, embedded_client
from app.registry.fleet import Fleet
from app.registry.fleet_reader import FleetPage
from app.registry.placements import ForwardOutcome
from app.registry.registry import Registry
from app.registry.sfus import SfuReport
from app.settings.model import (
    BalancingSettings,
    HealthSettings,
    RedisSettings,
    RegistrationSettings,
    Settings,
    TenantSettings,
)
from tests.support.apps import running_app
from tests.support.calls import call_id, placed_at
from tests.support.engines import RedisServer
from tests.support.ports import HOST, free_port
from tests.support.sfus import UNTROUBLED

KEY = Key(b"the key of this SFU and no other")
SETTINGS = Settings(key=(KEY,))


def report(number: int, **figures: Any) -> SfuReport:
    return SfuReport(address=f"http://sfu{number}:8070", region="eu-west", key=KEY, **figures)


async def health_of(*reports: SfuReport, drained: str = "") -> tuple[int, dict[str, Any]]:
    """Status and document of a gateway where these SFUs have reported."""
    redis = embedded_client()
    registry = Registry.from_settings(redis, SETTINGS)
    for each in reports:
        await registry.registrations.heartbeat(each)
    if drained:
        await registry.fleet.drain(drained)
    async with running_app(SETTINGS, redis) as client:
        response = await client.get("/v1/health")
    await close_client(redis)
    return response.status_code, response.json()


async def test_the_document_has_the_documented_shape() -> None:
    status, document = await health_of(
        report(1, channels=12, sessions=450, max_sessions=900, cpu=0.35, memory=0.48)
    )
    age = document["sfus"][0].pop("heartbeatAgeMs")
    assert status == 200
    assert document == {
        "status": "ok",
        "mode": "registry",
        "selectable": 1,
        "sfus": [
            {
                "address": "http://sfu1:8070",
                "region": "eu-west",
                "status": "up",
                "breaker": "closed",
                "load": 0.451,
                "channels": 12,
                "sessions": 450,
                "maxSessions": 900,
                "reserved": 0,
                "cpuUsage": 0.35,
                "memoryUsage": 0.48,
                **UNTROUBLED,
            }
        ],
    }
    assert isinstance(age, int)
    assert 0 <= age < 60_000


async def test_without_sfus_the_fleet_is_down() -> None:
    assert await health_of() == (503, {"status": "down", "mode": "registry", "selectable": 0, "sfus": []})


async def test_an_overloaded_fleet_is_down_though_every_sfu_is_up() -> None:
    status, document = await health_of(report(1, sessions=1000), report(2, cpu=1.0))
    assert (status, document["status"], document["selectable"]) == (503, "down", 0)
    assert [sfu["status"] for sfu in document["sfus"]] == ["up", "up"]


async def test_a_draining_sfu_is_shown_and_is_no_trouble() -> None:
    status, document = await health_of(report(1), report(2), drained="http://sfu1:8070")
    assert (status, document["status"], document["selectable"]) == (200, "ok", 1)
    assert [sfu["status"] for sfu in document["sfus"]] == ["draining", "up"]


async def test_an_sfu_that_signed_off_stays_listed_as_down() -> None:
    redis = embedded_client()
    registry = Registry.from_settings(redis, SETTINGS)
    await registry.registrations.heartbeat(report(1))
    await registry.registrations.heartbeat(report(2))
    await registry.registrations.sign_off("http://sfu1:8070", KEY)
    async with running_app(SETTINGS, redis) as client:
        document = (await client.get("/v1/health")).json()
    await close_client(redis)
    assert [sfu["status"] for sfu in document["sfus"]] == ["down", "up"]
    assert document["status"] == "ok"  # it was meant


async def test_an_sfu_whose_attempts_all_fail_is_trouble_though_nobody_is_blamed() -> None:
    redis = embedded_client()
    registry = Registry.from_settings(redis, SETTINGS)
    await registry.registrations.heartbeat(report(1))
    seen = []
    for number in range(3):
        outcome = ForwardOutcome(
            f"request {number}", call_id(), placed_at("http://sfu1:8070"), "unblamed", error="answered 500"
        )
        await registry.record_outcome(outcome)
        async with running_app(SETTINGS, redis) as client:
            document = (await client.get("/v1/health")).json()
        [sfu] = document["sfus"]
        seen.append((document["status"], sfu["state"], sfu["errors"], sfu["lastError"]))
    await close_client(redis)
    assert seen == [
        ("ok", "selectable", 1, "answered 500"),
        ("ok", "selectable", 2, "answered 500"),
        ("degraded", "selectable", 3, "answered 500"),
    ]


async def test_what_is_wrong_with_the_set_up_of_an_sfu_is_shown_without_blame() -> None:
    redis = embedded_client()
    registry = Registry.from_settings(redis, SETTINGS)
    known = await registry.registrations.heartbeat(report(1))
    await registry.fleet.note_setup("http://sfu1:8070", known.generation, ["forwarded_for_ignored"])
    async with running_app(SETTINGS, redis) as client:
        document = (await client.get("/v1/health")).json()
    await close_client(redis)
    assert (document["status"], document["sfus"][0]["warnings"]) == ("ok", ["forwarded_for_ignored"])


@pytest.mark.parametrize(
    ("allowed", "of_tenant", "warnings"),
    [
        ((), ("us-east",), []),
        (("us-east",), (), ["region_not_allowed"]),
        (("us-east",), ("us-east",), ["region_not_allowed"]),
        (("us-east", "eu-west"), ("us-east",), []),
    ],
)
async def test_an_sfu_in_a_region_that_no_tenant_may_use_says_so(
    allowed: tuple[str, ...], of_tenant: tuple[str, ...], warnings: list[str]
) -> None:
    tenant = TenantSettings(name="acme", key=(Key(b"the key of another tenant"),), region_allow=of_tenant)
    balancing = BalancingSettings(region_allow=allowed)
    settings = Settings(key=(KEY,), balancing=balancing, tenant=(tenant,))
    redis = embedded_client()
    await Registry.from_settings(redis, settings).registrations.heartbeat(report(1))
    async with running_app(settings, redis) as client:
        document = (await client.get("/v1/health")).json()
    await close_client(redis)
    assert document["sfus"][0]["warnings"] == warnings


async def test_no_key_is_shown() -> None:
    _, document = await health_of(report(1))
    assert "key" not in str(document).lower()


# Who may ask, and how often


async def test_however_often_it_is_asked_the_fleet_is_read_at_most_once_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readings = []
    page = Fleet.page

    async def counted(fleet: Fleet, *arguments: Any) -> FleetPage:
        readings.append(time.monotonic())
        return await page(fleet, *arguments)

    monkeypatch.setattr(Fleet, "page", counted)
    async with running_app(SETTINGS) as client:
        started = time.monotonic()
        answers = await asyncio.gather(*(client.get("/v1/health") for _ in range(100)))
        assert (await client.get("/v1/dashboard/data")).status_code == 200
        seconds = int(time.monotonic() - started)
    assert {answer.status_code for answer in answers} == {503}
    assert len(readings) <= 2 + 2 * seconds  # one in the background, one for all who asked


async def test_what_it_shows_the_snapshot_has_and_while_redis_is_away_it_shows_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    redis = embedded_client()
    registry, app = Registry.from_settings(redis, SETTINGS), create_app(SETTINGS, redis=redis)

    async def no_page(*_: Any) -> FleetPage:
        raise RegistryUnavailable("away")

    async with app.router.lifespan_context(app) as state:
        assert state is not None
        health, switch = state["health"], state["switch"]
        await registry.registrations.heartbeat(report(1, channels=12, sessions=450, cpu=0.35))
        await registry.registrations.heartbeat(report(2))
        await registry.registrations.sign_off("http://sfu2:8070", KEY)
        shown = json.loads((await health.look()).rendered.body)
        assert [sfu["state"] for sfu in shown["sfus"]] == ["selectable", "signed-off"]
        assert [sfu.address for sfu in switch.snapshot.nodes] == ["http://sfu1:8070"]
        assert [sfu.address for sfu in switch.snapshot.others] == ["http://sfu2:8070"]
        monkeypatch.setattr(Fleet, "page", no_page)
        await switch.refresh()
        away = json.loads((await health.look()).rendered.body)
    await close_client(redis)
    assert (away["mode"], away["status"], away["sfus"]) == ("snapshot", "degraded", shown["sfus"])


@pytest.mark.parametrize(
    ("admin_token", "header", "status", "code"),
    [
        (None, "", 403, "closed"),
        ("secret", "", 401, "credentials_missing"),
        ("secret", "Bearer another", 401, "credentials_invalid"),
        ("secret", "Bearer secret", 503, None),
    ],
)
async def test_a_closed_health_route_wants_the_admin_token(
    admin_token: str | None, header: str, status: int, code: str | None
) -> None:
    settings = Settings(
        key=(KEY,),
        health=HealthSettings(public=False),
        admin_token=SecretStr(admin_token) if admin_token else None,
    )
    async with running_app(settings) as client:
        answer = await client.get("/v1/health", headers={"Authorization": header} if header else {})
        assert (answer.status_code, answer.json().get("code")) == (status, code)
        if code:
            assert answer.headers["content-type"] == "application/problem+json"
            assert "sfus" not in answer.json()
        assert (await client.get("/livez")).status_code == 200


# Probes


@pytest.mark.parametrize(
    ("path", "document"),
    [("/noop", {"status": "ok"}), ("/v1/noop", {"result": "ok"}), ("/livez", {"status": "ok"})],
)
async def test_probes_answer_as_callers_expect(path: str, document: dict[str, str]) -> None:
    async with running_app(SETTINGS) as client:
        response = await client.get(path)
        assert (response.status_code, response.json()) == (200, document)


async def test_a_replica_with_its_redis_is_ready() -> None:
    async with running_app(SETTINGS) as client:
        response = await client.get("/readyz")
        assert (response.status_code, response.json()["status"]) == (200, "ok")


async def test_without_its_redis_a_replica_that_knows_nothing_lives_and_is_not_ready() -> None:
    redis = connect(RedisSettings(url=SecretStr(f"redis://{HOST}:{free_port()}")))
    async with running_app(SETTINGS, redis) as client:
        assert (await client.get("/livez")).status_code == 200
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["code"]) == (503, "store_unavailable")
        assert "Redis does not answer: the connection was refused" in ready.json()["detail"]
        health = await client.get("/v1/health")
        assert (health.status_code, health.json()["mode"]) == (503, "snapshot")
    await close_client(redis)


async def test_a_redis_that_refuses_is_named_by_the_probe_and_to_sfus(own_server: RedisServer) -> None:
    own_server.call("ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", "-time")
    redis = connect(RedisSettings(url=SecretStr(f"redis://limited:secret@{HOST}:{own_server.port}")))
    open_to_all = SETTINGS.model_copy(update={"registration": RegistrationSettings(auth="none")})
    heartbeat = {"status": "up", "address": "http://127.0.0.1:9", "key": "c2VjcmV0IGtleSBvZiBvbmUgU0ZV"}
    async with running_app(open_to_all, redis) as client:
        for answer in (await client.get("/readyz"), await client.post("/v1/sfu", json=heartbeat)):
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
            assert "answers and refuses: this user lacks a right (NOPERM)" in answer.json()["detail"]
    await close_client(redis)
