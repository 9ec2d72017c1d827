"""`GET /v1/channel` and `POST /v1/disconnect` over HTTP: what cannot be passed on is refused with a code."""

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.crypto.tokens import Key
from app.settings.model import Settings, StaticSfuSettings, TenantSettings
from tests.support.apps import running_app
from tests.support.simulated import NO_PEOPLE, running_sfu
from workers.simulator.sfu import SfuConfig, SimulatedSfu

ODOO_KEY = Key(b"the key that Odoo signs with: 32")
ACME_KEY = Key(b"the key of another Odoo: 32 byte")
ISSUER = "https://odoo.example:channel:7"
SFU_KEY = Key(b"the key of the one SFU there is!")


@pytest.fixture
async def sfu() -> AsyncIterator[SimulatedSfu]:
    async with running_sfu(SfuConfig(key=SFU_KEY, people=NO_PEOPLE, proxy=True)) as (running, _):
        yield running


@pytest.fixture
async def client(sfu: SimulatedSfu) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway with two tenants and one SFU."""
    settings = Settings(
        key=(ODOO_KEY,),
        tenant=(TenantSettings(name="acme", key=(ACME_KEY,)),),
        sfu=(StaticSfuSettings(address=sfu.address, key=SFU_KEY),),
    )
    async with running_app(settings) as client:
        yield client


def signed(payload: str, header: str = '{"typ":"JWT","alg":"HS256"}') -> str:
    """A genuine token with any text as its claims."""
    parts = ".".join(
        base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in (header, payload)
    )
    signature = hmac.digest(ODOO_KEY.secret, parts.encode(), "sha256")
    return f"{parts}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def claims(more: str = "", issuer: str = ISSUER) -> str:
    return f'{{"iss":{json.dumps(issuer)},"exp":{int(time.time()) + 3600}{more}}}'


async def ask(client: httpx.AsyncClient, token: str, query: str = "") -> httpx.Response:
    return await client.get(f"/v1/channel{query}", headers={"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize(
    ("payload", "status", "code"),
    [
        (claims(r',"x":"\ud800"'), 401, "credentials_invalid"),
        (claims(r',"\udfff":1'), 401, "credentials_invalid"),
        (claims(',"x":NaN'), 401, "credentials_invalid"),
        (claims(',"x":1e999'), 401, "credentials_invalid"),
        (claims(issuer="odoo\ud800"), 401, "credentials_invalid"),
        (claims(issuer="odoo\n:channel:7"), 403, "issuer_missing"),
        (claims(issuer="x" * 1025), 403, "issuer_missing"),
    ],
    ids=[
        "half a pair",
        "half a pair in a name",
        "NaN",
        "too large",
        "half a pair in iss",
        "line break",
        "long",
    ],
)
async def test_claims_that_cannot_be_passed_on_are_refused_and_lock_nothing(
    client: httpx.AsyncClient, sfu: SimulatedSfu, payload: str, status: int, code: str
) -> None:
    answer = await ask(client, signed(payload))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await ask(client, signed(claims()))).status_code == 200
    assert sfu.api.counts["/v1/channel"] == 1


async def test_a_critical_header_is_refused(client: httpx.AsyncClient) -> None:
    answer = await ask(client, signed(claims(), '{"alg":"HS256","crit":[]}'))
    assert (answer.status_code, answer.json()["code"]) == (401, "credentials_invalid")


async def test_query_bytes_reach_the_sfu_as_they_came(client: httpx.AsyncClient, sfu: SimulatedSfu) -> None:
    seen: list[str] = []
    record = sfu.api.record

    def noting(request: Any) -> Any:
        seen.append(request.raw_path)
        return record(request)

    sfu.api.record = noting  # type: ignore[method-assign]
    query = "?a=%E9&region=eu-west&b=%2f+%7E&c"
    assert (await ask(client, signed(claims()), query)).status_code == 200
    assert [path for path in seen if path != "/v1/stats"] == ["/v1/channel?a=%E9&b=%2f+%7E&c"]


async def test_two_tenants_with_one_issuer_and_one_address_have_two_channels(
    client: httpx.AsyncClient, sfu: SimulatedSfu
) -> None:
    exp = int(time.time()) + 30
    ours = await ask(client, ODOO_KEY.sign({"iss": ISSUER, "exp": exp}))
    theirs = await ask(client, ACME_KEY.sign({"iss": ISSUER, "exp": exp}))
    assert ours.json()["uuid"] != theirs.json()["uuid"]
    assert [call.claims["iss"] for call in sfu.calls if call.path == "/v1/channel"] == [
        ISSUER,
        f"tenant/acme/{ISSUER}",
    ]
    forged = await ask(client, ODOO_KEY.sign({"iss": f"tenant/acme/{ISSUER}", "exp": exp}))
    assert forged.json()["uuid"] not in (ours.json()["uuid"], theirs.json()["uuid"])


@pytest.mark.parametrize(
    "sessions",
    [r'{"\ud800":[1]}', r'{"7c0e":["\ud800"]}', '{"7c0e":[NaN]}', '{"7c\\n0e":[1]}', '{"7c0e":7}', "[]"],
)
async def test_a_disconnect_that_cannot_be_passed_on_is_refused(
    client: httpx.AsyncClient, sessions: str
) -> None:
    token = signed(f'{{"exp":{int(time.time()) + 30},"sessionIdsByChannel":{sessions}}}')
    answer = await client.post("/v1/disconnect", content=token)
    assert (answer.status_code, answer.json()["code"]) == (422, "credentials_invalid")
