"""R33: one call asked for from many addresses, and two tenants that have one issuer."""

import asyncio
import json
import time
from collections.abc import Iterable
from typing import Any, Final

import aiohttp
import httpx

from app.crypto.tokens import Key
from tests.chaos.rows import Row, Scale
from tests.chaos.test_sfus import urls
from tests.journeys.deployment import GATEWAY_KEY, Deployment, RunningFleet
from tests.support.waiting import eventually, eventually_sync

TENANT_KEY: Final = "YW5vdGhlciBPZG9vIHdpdGggYSBrZXkgb2YgaXRzIG93bg=="
KEYS: Final = {"default": GATEWAY_KEY, "acme": TENANT_KEY}
ADDRESSES: Final = [f"127.0.0.{number}" for number in range(11, 19)]
"""Where requests come from: all of them lead to this machine."""

PEOPLE: Final = 4


async def test_a_call_has_one_channel_from_wherever_it_is_asked_for_and_no_tenant_reaches_anothers(
    deployment: Deployment, scale: Scale
) -> None:
    row = Row(
        "R33",
        "one issuer asked from 8 addresses at both replicas; two tenants with one issuer",
        "one channel; two channels, no disconnect across",
    )
    tenant = json.dumps([{"name": "acme", "key": TENANT_KEY}])
    replicas = [deployment.replica(tenant=tenant) for _ in range(2)]
    deployment.sweeper()
    options = (
        "--ping-interval-ms",
        "1000",
        "--max-sessions",
        "1000000",
        "--join-seconds",
        "0.1",
        "--stay-seconds",
        "1e9",
    )
    fleet = deployment.fleet(4, replicas, *options, "--people", str(PEOPLE))
    eventually_sync(lambda: all(replica.selectable() == 4 for replica in replicas), timeout_seconds=15)
    issuers = [f"https://odoo.example:channel:{number}" for number in range(scale.count(100, 10))]
    answers = await _asked_from_everywhere(urls(replicas), issuers)
    channels = {name: {answer["uuid"] for answer in found} for name, found in answers.items()}
    failed = sum(not answer["uuid"] for found in answers.values() for answer in found)
    split = sum(len(uuids) != 1 for uuids in channels.values())
    shared = sum(channels["default", issuer] == channels["acme", issuer] for issuer in issuers)

    async def are_there() -> bool:
        return await asyncio.to_thread(_people, fleet) > 0 and await _is_steady(fleet)

    await eventually(are_there, timeout_seconds=15)
    before = await asyncio.to_thread(_people, fleet)
    await _disconnect_all(urls(replicas), "acme", _uuids(channels, "default"))
    across = before - await asyncio.to_thread(_people, fleet)
    await _disconnect_all(urls(replicas), "acme", _uuids(channels, "acme"))
    await _disconnect_all(urls(replicas), "default", _uuids(channels, "default"))
    left = await asyncio.to_thread(_people, fleet)
    figure = (
        f"{failed} of {len(answers) * len(ADDRESSES) * len(replicas)} failed; {split} of {len(answers)} calls with "
        f"more than one channel; {shared} shared by two tenants; {across} of {before} people disconnected by the "
        f"other tenant; {left} left after their own tenant disconnected all"
    )
    row.record(figure, kept=not failed and not split and not shared and not across and not left)


async def _asked_from_everywhere(
    gateways: Iterable[str], issuers: Iterable[str]
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """What each tenant's issuer was answered, from every address at every replica, all at the same time."""
    sessions = [
        aiohttp.ClientSession(
            trust_env=False, connector=aiohttp.TCPConnector(local_addr=(address, 0), limit=8)
        )
        for address in ADDRESSES
    ]
    asked = [(tenant, issuer) for issuer in issuers for tenant in KEYS]
    try:
        answers = await asyncio.gather(
            *(
                asyncio.gather(*(_ask(session, url, *who) for session in sessions for url in gateways))
                for who in asked
            )
        )
    finally:
        for session in sessions:
            await session.close()
    return dict(zip(asked, answers, strict=True))


async def _ask(session: aiohttp.ClientSession, url: str, tenant: str, issuer: str) -> dict[str, Any]:
    headers = {"Authorization": f"jwt {_token(tenant, iss=issuer)}"}
    async with session.get(f"{url}/v1/channel", headers=headers) as response:
        document = await response.json(content_type=None)
    return {"uuid": document.get("uuid", ""), "status": response.status}


async def _disconnect_all(gateways: list[str], tenant: str, uuids: Iterable[str]) -> None:
    """Send everybody out of the channels, from an address that asked for none of them."""
    async with aiohttp.ClientSession(trust_env=False) as session:
        for number, uuid in enumerate(uuids):
            token = _token(tenant, sessionIdsByChannel={uuid: list(range(1, 10 * PEOPLE))})
            url = gateways[number % len(gateways)]
            async with session.post(f"{url}/v1/disconnect", data=token) as response:
                assert response.status == 200, await response.text()


def _token(tenant: str, **claims: Any) -> str:
    return Key.from_base64(KEYS[tenant]).sign({"exp": int(time.time()) + 30} | claims)


def _uuids(channels: dict[tuple[str, str], set[str]], tenant: str) -> list[str]:
    return [uuid for (name, _), uuids in channels.items() if name == tenant for uuid in uuids if uuid]


def _people(fleet: RunningFleet) -> int:
    """How many there are on all SFUs."""
    channels = (httpx.get(f"{each}/v1/stats", trust_env=False).json() for each in fleet.addresses)
    return sum(channel["sessionsStats"]["count"] for found in channels for channel in found)


async def _is_steady(fleet: RunningFleet) -> bool:
    """Whether everybody has joined: two looks see the same number."""
    first = await asyncio.to_thread(_people, fleet)
    await asyncio.sleep(0.3)
    return first == await asyncio.to_thread(_people, fleet)
