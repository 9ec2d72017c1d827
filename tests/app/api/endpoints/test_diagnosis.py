"""`GET /v1/diagnosis`: what it says of a replica, and who may ask."""

import base64
import time
from typing import Any, Final

import httpx
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from app.crypto.tokens import Key
from app.registry.registry import Registry
from app.registry.sfus import SfuReport
from app.settings.model import HealthSettings, RedisSettings, RegistrationSettings, Settings
from tests.support.apps import running_app
from tests.support.engines import RedisServer
from tests.support.waiting import eventually

GATEWAY_KEY: Final = Key(b"the key between Odoo and the gateway")
SFU_KEY: Final = Key(b"the key of an SFU that is not there")
ADMIN_TOKEN: Final = "the-token-of-the-operators"
SETTINGS: Final = Settings(
    key=(GATEWAY_KEY,),
    registration=RegistrationSettings(key=(GATEWAY_KEY,)),
    admin_token=SecretStr(ADMIN_TOKEN),
)


async def troubles(client: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    """What is wrong, by code."""
    answer = await client.get("/v1/diagnosis")
    assert answer.status_code == 200
    document = answer.json()
    assert document["ok"] is (document["troubles"] == [])
    return {trouble["code"]: trouble for trouble in document["troubles"]}


async def test_an_empty_fleet_that_nobody_sweeps_is_told() -> None:
    async with running_app(SETTINGS) as client:
        assert list(await troubles(client)) == ["fleet_empty", "sweeper_missing"]


async def test_requests_that_were_refused_are_told() -> None:
    token = GATEWAY_KEY.sign({"iss": "https://odoo.example:channel:1", "exp": int(time.time()) + 30})
    async with running_app(SETTINGS) as client:
        refused = await client.get("/v1/channel", headers={"Authorization": f"jwt {token}"})
        assert refused.json()["code"] == "no_sfu"
        trouble = (await troubles(client))["channels_refused"]
    assert (trouble["cause"]["lastError"], trouble["cause"]["count"]) == ("no_sfu", 1)


async def test_heartbeats_that_were_refused_are_told() -> None:
    async with running_app(SETTINGS) as client:
        refused = await client.post("/v1/sfu", json={}, headers={"Authorization": "Bearer nonsense"})
        assert refused.status_code == 401
        trouble = (await troubles(client))["heartbeats_refused"]
    assert (trouble["cause"]["lastError"], trouble["cause"]["count"]) == ("credentials_invalid", 1)


async def test_an_operators_order_shows_at_once() -> None:
    headers = {"Authorization": f"Bearer {GATEWAY_KEY.sign({'exp': int(time.time()) + 60})}"}
    payload = {
        "status": "up",
        "address": "http://sfu.test:8070",
        "key": base64.b64encode(b"the key of an SFU that is not there").decode(),
        "sessions": 3,
    }
    async with running_app(SETTINGS) as client:
        assert (await client.post("/v1/sfu", json=payload, headers=headers)).status_code == 200
        assert "nothing_selectable" not in await troubles(client)
        drained = await client.post(
            "/v1/admin/sfus/drain",
            json={"address": "http://sfu.test:8070"},
            headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
        )
        assert drained.status_code == 200
        trouble = (await troubles(client))["nothing_selectable"]
    assert (trouble["people"], trouble["cause"]["likely"]) == (3, "SFUs: 1 draining")


@pytest.mark.parametrize(("token", "status"), [("", 401), ("wrong", 401), (ADMIN_TOKEN, 200)])
async def test_strangers_may_be_kept_out_as_from_health(token: str, status: int) -> None:
    closed = SETTINGS.model_copy(update={"health": HealthSettings(public=False)})
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with running_app(closed) as client:
        assert (await client.get("/v1/diagnosis", headers=headers)).status_code == status


async def test_while_redis_is_away_the_cause_is_told_with_what_was_seen_last(own_server: RedisServer) -> None:
    settings = SETTINGS.model_copy(update={"redis": RedisSettings(url=SecretStr(own_server.url))})
    async with Redis(port=own_server.port, decode_responses=True) as redis:
        registry = Registry.from_settings(redis, settings).patient()
        await registry.registrations.heartbeat(
            SfuReport("http://sfu.test:8070", "eu-west", SFU_KEY, sessions=7)
        )
        async with running_app(settings, redis) as client:

            async def is_told() -> dict[str, Any] | None:
                return (await troubles(client)).get("redis_away")

            assert "redis_away" not in await troubles(client)
            own_server.kill()
            trouble = await eventually(is_told)
    assert trouble is not None
    assert "Redis does not answer" in trouble["what"]
    assert "places calls on the 1 SFU that it saw last" in trouble["what"]
    assert trouble["people"] == 7


async def test_a_redis_that_refuses_is_told_apart(own_server: RedisServer) -> None:
    settings = SETTINGS.model_copy(update={"redis": RedisSettings(url=SecretStr(own_server.url))})
    async with (
        Redis(port=own_server.port, decode_responses=True) as redis,
        running_app(settings, redis) as client,
    ):
        await troubles(client)
        own_server.call("CONFIG", "SET", "min-replicas-to-write", "1")

        async def is_told() -> dict[str, Any] | None:
            return (await troubles(client)).get("redis_refuses")

        trouble = await eventually(is_told)
    assert trouble is not None
    assert trouble["cause"]["lastError"] == "noreplicas"


async def test_a_redis_that_may_forget_calls_is_unfit(own_server: RedisServer) -> None:
    settings = SETTINGS.model_copy(update={"redis": RedisSettings(url=SecretStr(own_server.url))})
    own_server.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    async with (
        Redis(port=own_server.port, decode_responses=True) as redis,
        running_app(settings, redis) as client,
    ):
        assert "allkeys-lru" in (await troubles(client))["redis_unfit"]["what"]
