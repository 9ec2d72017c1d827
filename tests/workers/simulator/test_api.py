import asyncio
import base64
import time
from typing import Any

import httpx
import pytest

from app.crypto.tokens import Key
from tests.support.simulated import KEY, NO_PEOPLE, bearing, running_sfu, token
from workers.simulator.channels import People
from workers.simulator.sfu import SfuConfig, SimulatedSfu
from workers.simulator.tokens import Dialect

BEHIND_PROXY = SfuConfig(key=KEY, proxy=True, people=NO_PEOPLE)


async def uuid_of(client: httpx.AsyncClient, jwt: str, **headers: str) -> str:
    response = await client.get("/v1/channel", headers=bearing(jwt, **headers))
    assert response.status_code == 200
    return str(response.json()["uuid"])


async def test_noop_answers_ok() -> None:
    async with running_sfu() as (_, client):
        assert (await client.get("/v1/noop")).json() == {"result": "ok"}


async def test_stats_is_an_array_with_all_documented_fields() -> None:
    async with running_sfu() as (sfu, client):
        uuid = await uuid_of(client, token())
        sfu.channels.by_uuid[uuid].sessions.update({1, 2, 3, 4})
        [entry] = (await client.get("/v1/stats")).json()
        assert entry.pop("createDate").endswith("Z")
        assert entry == {
            "uuid": uuid,
            "remoteAddress": "127.0.0.1",
            "webRtcEnabled": True,
            "sessionsStats": {
                "count": 4,
                "cameraCount": 2,
                "screenCount": 1,
                "incomingBitRate": {
                    "audio": 128_000,
                    "camera": 1_200_000,
                    "screen": 1_000_000,
                    "total": 2_328_000,
                },
            },
        }


@pytest.mark.parametrize("scheme", ["jwt", "Bearer", "anything"])
async def test_a_good_token_gets_a_channel_whatever_the_scheme_word(scheme: str) -> None:
    async with running_sfu() as (sfu, client):
        response = await client.get("/v1/channel", headers={"Authorization": f"{scheme} {token()}"})
        assert response.status_code == 200
        assert response.json() == {"uuid": next(iter(sfu.channels.by_uuid)), "url": sfu.address}


@pytest.mark.parametrize("headers", [{}, {"Authorization": "jwt"}])
async def test_no_token_gives_401_and_an_empty_body(headers: dict[str, str]) -> None:
    async with running_sfu() as (_, client):
        response = await client.get("/v1/channel", headers=headers)
        assert (response.status_code, response.content) == (401, b"")


async def test_a_token_without_issuer_gives_403() -> None:
    async with running_sfu() as (_, client):
        assert (await client.get("/v1/channel", headers=bearing(token(iss=None)))).status_code == 403


@pytest.mark.parametrize(("dialect", "status"), [("odoo", 500), ("strict", 401)])
@pytest.mark.parametrize("bad", [token(Key(b"another key")), token(exp=1), "nonsense"])
async def test_a_bad_token_gives_an_empty_body_and_the_dialect_s_status(
    dialect: Dialect, status: int, bad: str
) -> None:
    async with running_sfu(SfuConfig(key=KEY, dialect=dialect, people=NO_PEOPLE)) as (_, client):
        response = await client.get("/v1/channel", headers=bearing(bad))
        assert (response.status_code, response.content) == (status, b"")


async def test_a_token_of_up_to_16_kib_gets_through() -> None:
    async with running_sfu(SfuConfig(key=KEY, dialect="strict", people=NO_PEOPLE)) as (_, client):
        assert await uuid_of(client, token(iss="x" * 12_000))


async def test_an_unknown_path_gives_404() -> None:
    async with running_sfu() as (_, client):
        assert (await client.get("/v2/channel")).status_code == 404


async def test_the_same_issuer_gets_the_same_channel_and_another_issuer_another() -> None:
    async with running_sfu() as (_, client):
        first = await uuid_of(client, token())
        assert await uuid_of(client, token()) == first
        assert await uuid_of(client, token(iss="another")) != first


async def test_simultaneous_requests_of_one_issuer_make_several_channels() -> None:
    async with running_sfu(SfuConfig(key=KEY, creation_delay_ms=50, people=NO_PEOPLE)) as (sfu, client):
        await asyncio.gather(*(uuid_of(client, token()) for _ in range(4)))
        assert len(sfu.channels.by_uuid) > 1


async def test_without_proxy_forwarded_headers_are_ignored() -> None:
    async with running_sfu(SfuConfig(key=KEY, public_ip="192.0.2.1", people=NO_PEOPLE)) as (sfu, client):
        forwarded = {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Host": "sfu.example"}
        response = await client.get("/v1/channel", headers=bearing(token(), **forwarded))
        assert response.json()["url"] == f"http://192.0.2.1:{sfu.port}"
        assert sfu.calls[-1].remote_address == "127.0.0.1"


async def test_behind_a_proxy_the_first_forwarded_address_owns_the_channel() -> None:
    async with running_sfu(BEHIND_PROXY) as (_, client):
        first = await uuid_of(client, token(), **{"X-Forwarded-For": "198.51.100.7, 203.0.113.9"})
        assert await uuid_of(client, token(), **{"X-Forwarded-For": "198.51.100.7"}) == first
        assert await uuid_of(client, token(), **{"X-Forwarded-For": "203.0.113.9"}) != first
        assert await uuid_of(client, token()) != first


async def test_behind_a_proxy_the_url_is_the_forwarded_one() -> None:
    async with running_sfu(BEHIND_PROXY) as (_, client):
        forwarded = {"X-Forwarded-Host": "sfu.example", "X-Forwarded-Proto": "https"}
        response = await client.get("/v1/channel", headers=bearing(token(), **forwarded))
        assert response.json()["url"] == "https://sfu.example"


async def test_webrtc_can_be_switched_off_by_query() -> None:
    async with running_sfu() as (_, client):
        await client.get("/v1/channel", params={"webRTC": "false"}, headers=bearing(token()))
        assert (await client.get("/v1/stats")).json()[0]["webRtcEnabled"] is False


async def channel_with_people(sfu: SimulatedSfu, client: httpx.AsyncClient) -> str:
    uuid = await uuid_of(client, token())
    sfu.channels.by_uuid[uuid].sessions.update({1, 2, 3})
    return uuid


def leaving(**sessions: Any) -> str:
    return token(iss=None, sessionIdsByChannel=sessions)


async def test_disconnect_sends_the_named_sessions_out() -> None:
    async with running_sfu() as (sfu, client):
        uuid = await channel_with_people(sfu, client)
        response = await client.post("/v1/disconnect", content=leaving(**{uuid: [1, 3, 99]}))
        assert (response.status_code, response.content) == (200, b"")
        assert sfu.channels.by_uuid[uuid].sessions == {2}


async def test_disconnect_from_another_address_changes_nothing() -> None:
    async with running_sfu(BEHIND_PROXY) as (sfu, client):
        uuid = await channel_with_people(sfu, client)
        headers = {"X-Forwarded-For": "203.0.113.9"}
        response = await client.post("/v1/disconnect", content=leaving(**{uuid: [1]}), headers=headers)
        assert response.status_code == 200
        assert sfu.channels.by_uuid[uuid].sessions == {1, 2, 3}


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"\xff", token(Key(b"another key")), token(), leaving(some=1)],
    ids=["empty", "nonsense", "not-utf8", "another-key", "no-claim", "not-a-list"],
)
async def test_disconnect_with_a_bad_token_gives_422(body: bytes | str) -> None:
    async with running_sfu() as (_, client):
        assert (await client.post("/v1/disconnect", content=body)).status_code == 422


async def test_what_came_in_is_recorded_and_its_text_form_hides_secrets() -> None:
    async with running_sfu() as (sfu, client):
        channel_key = base64.b64encode(b"the key of one channel").decode()
        jwt = token(key=channel_key, exp=int(time.time()) + 9)
        await client.get("/v1/channel", params={"recordingAddress": "http://x"}, headers=bearing(jwt))
        call = sfu.calls[-1]
        assert call.query["recordingAddress"] == "http://x"
        assert call.headers["Authorization"] == f"jwt {jwt}"
        assert call.claims["key"] == channel_key
        assert jwt not in repr(call)
        assert channel_key not in repr(call)
        assert sfu.api.counts == {"/v1/channel": 1}


async def test_people_show_in_the_stats() -> None:
    people = People(per_channel=5, join_seconds=0, stay_seconds=1e9)
    async with running_sfu(SfuConfig(key=KEY, people=people)) as (sfu, client):
        await uuid_of(client, token())
        [entry] = (await client.get("/v1/stats")).json()
        assert entry["sessionsStats"]["count"] == sfu.figures().sessions > 0
