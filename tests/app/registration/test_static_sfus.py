"""SFUs from the configuration: registered, measured, and never given up."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from app.crypto.tokens import Key
from app.registration.static_sfus import StaticSfus
from app.registry.client import close_client, connect, embedded_client
from app.registry.registry import Registry
from app.registry.scripts import RedisClient
from app.registry.sfus import SfuReport
from app.settings.model import RedisSettings, Settings, StaticSfuSettings
from app.upstream.addresses import AddressGuard
from app.upstream.client import Forwarder
from tests.support.logs import captured_logs
from tests.support.ports import HOST, free_port
from tests.support.simulated import KEY, bearing, running_sfu, token
from tests.support.waiting import eventually
from workers.simulator.channels import People
from workers.simulator.faults import Garbage, NoFault, Status
from workers.simulator.sfu import SfuConfig

SETTINGS = Settings(key=(KEY,))


@pytest.fixture
async def embedded() -> AsyncIterator[RedisClient]:
    """An empty Redis."""
    embedded = embedded_client()
    yield embedded
    await close_client(embedded)


@pytest.fixture
def registry(embedded: RedisClient) -> Registry:
    """The registry in it."""
    return Registry.from_settings(embedded, SETTINGS)


@pytest.fixture
async def forwarder() -> AsyncIterator[Forwarder]:
    """What asks SFUs for their figures."""
    async with Forwarder(AddressGuard()) as forwarder:
        yield forwarder


def static(registry: Registry, forwarder: Forwarder, *sfus: StaticSfuSettings) -> StaticSfus:
    return StaticSfus(registry, forwarder, sfus, interval_s=0.02, default_max_sessions=1000)


def sfu_at(address: str, **fields: Any) -> StaticSfuSettings:
    return StaticSfuSettings(address=address, key=KEY, **fields)


async def test_they_are_registered_before_anything_is_measured(
    registry: Registry, forwarder: Forwarder
) -> None:
    silent = sfu_at("http://127.0.0.1:1", region="eu-west", max_sessions=50, public_url="https://sfu1")
    async with static(registry, forwarder, silent, sfu_at("http://127.0.0.1:2")).kept_registered():
        one, other = sorted(await registry.fleet.sfus(), key=lambda sfu: sfu.address)
    assert (one.region, one.max_sessions, one.public_url) == ("eu-west", 50, "https://sfu1")
    assert (other.region, other.max_sessions, other.state) == ("default", 1000, "selectable")


async def test_their_figures_come_from_their_statistics(registry: Registry, forwarder: Forwarder) -> None:
    config = SfuConfig(key=KEY, people=People(per_channel=3, join_seconds=0.001))
    async with running_sfu(config) as (sfu, client):
        for issuer in ("a", "b"):
            await client.get("/v1/channel", headers=bearing(token(iss=issuer)))
        async with static(registry, forwarder, sfu_at(sfu.address)).kept_registered():
            measured = await eventually(lambda: _with_sessions(registry))
        figures = sfu.figures()
    assert (measured.channels, measured.sessions) == (2, figures.sessions)


async def _with_sessions(registry: Registry) -> Any:
    [sfu] = await registry.fleet.sfus()
    return sfu if sfu.sessions else None


@pytest.mark.parametrize("fault", [Garbage(), Status(status=503)])
async def test_one_that_does_not_answer_stays_with_its_last_figures(
    registry: Registry, forwarder: Forwarder, fault: Garbage | Status
) -> None:
    async with running_sfu() as (sfu, client):
        await client.get("/v1/channel", headers=bearing(token()))
        sfus = static(registry, forwarder, sfu_at(sfu.address))
        await sfus.register(measure=True)
        await sfu.set_fault(fault)
        with captured_logs() as text:
            await sfus.register(measure=True)
        [status] = await registry.fleet.sfus()
        assert (status.channels, status.state) == (1, "selectable")
        assert "static_sfu_silent" in text.getvalue()
        await sfu.set_fault(NoFault())


async def test_their_lives_are_renewed_again_and_again(registry: Registry, forwarder: Forwarder) -> None:
    async with running_sfu() as (sfu, _), static(registry, forwarder, sfu_at(sfu.address)).kept_registered():
        assert await eventually(lambda: sfu.api.counts["/v1/stats"] >= 3)


async def test_an_address_that_another_holds_is_left_to_it(registry: Registry, forwarder: Forwarder) -> None:
    address = "http://127.0.0.1:1"
    await registry.registrations.heartbeat(
        SfuReport(address=address, region="theirs", key=Key(b"another key"))
    )
    with captured_logs() as text:
        await static(registry, forwarder, sfu_at(address)).register(measure=False)
    assert (await registry.fleet.describe(address)).region == "theirs"
    assert "address_leased" in text.getvalue()


async def test_a_redis_that_is_away_is_no_reason_to_stop(forwarder: Forwarder) -> None:
    embedded = connect(RedisSettings(url=SecretStr(f"redis://{HOST}:{free_port()}")))
    registry = Registry.from_settings(embedded, SETTINGS)
    with captured_logs() as text:
        async with static(registry, forwarder, sfu_at("http://127.0.0.1:1")).kept_registered():
            await eventually(lambda: text.getvalue().count("store_unavailable") >= 3)
    await close_client(embedded)
