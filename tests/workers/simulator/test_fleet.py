import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from app.crypto.tokens import Key, verify
from tests.support.forking import ModuleProcess
from tests.support.gateway import FakeGateway, running_gateway
from tests.support.ports import free_port
from tests.support.processes import Process, prints
from tests.support.simulated import NO_PEOPLE, Clock
from tests.support.waiting import eventually
from workers.simulator.channels import Figures
from workers.simulator.fleet import Fleet, FleetConfig, main, sfu_configs

REGISTRATION_KEY = Key(b"the key that lets SFUs register!")


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with running_gateway() as running:
        yield running


def reporting_to(gateway: FakeGateway, count: int = 1, max_sessions: int | None = None) -> FleetConfig:
    return FleetConfig(
        count=count,
        gateway_urls=(gateway.url,),
        ping_interval_ms=60_000,
        people=NO_PEOPLE,
        max_sessions=max_sessions,
    )


async def test_each_sfu_listens_on_a_port_of_its_own() -> None:
    async with Fleet(FleetConfig(count=20, people=NO_PEOPLE)) as fleet, httpx.AsyncClient() as client:
        assert len({sfu.address for sfu in fleet.sfus}) == 20
        for sfu in fleet.sfus:
            assert (await client.get(f"{sfu.address}/v1/noop")).json() == {"result": "ok"}


def test_regions_and_keys_are_dealt_out_in_turn_and_ports_count_up() -> None:
    keys = Key(b"one"), Key(b"two")
    configs = sfu_configs(FleetConfig(count=3, regions=("eu-west", "us-east"), keys=keys, base_port=8070))
    assert [config.region for config in configs] == ["eu-west", "us-east", "eu-west"]
    assert [config.key for config in configs] == [*keys, keys[0]]
    assert [config.port for config in configs] == [8070, 8071, 8072]


def test_without_keys_each_sfu_makes_its_own() -> None:
    assert len({config.key for config in sfu_configs(FleetConfig(count=3))}) == 3


async def test_a_port_that_is_taken_stops_the_start_and_frees_the_others() -> None:
    port = free_port()
    async with Fleet(FleetConfig(count=1, base_port=port + 1)):
        with pytest.raises(OSError, match="in use"):
            await Fleet(FleetConfig(count=2, base_port=port)).__aenter__()
        async with Fleet(FleetConfig(count=1, base_port=port)) as fleet:
            assert fleet.sfus[0].port == port


async def test_the_same_seed_gives_every_sfu_the_same_people_again() -> None:
    assert await sessions_of_a_fleet(seed=5) == await sessions_of_a_fleet(seed=5)
    assert await sessions_of_a_fleet(seed=5) != await sessions_of_a_fleet(seed=6)


async def sessions_of_a_fleet(seed: int) -> list[int]:
    clock = Clock()
    async with Fleet(FleetConfig(count=20, seed=seed), clock=clock) as fleet:
        for sfu in fleet.sfus:
            sfu.channels.create("198.51.100.7", "call")
        clock.now += 20
        return [sfu.figures().sessions for sfu in fleet.sfus]


async def test_the_first_heartbeat_has_the_roadmap_s_payload_and_the_instance(gateway: FakeGateway) -> None:
    async with Fleet(reporting_to(gateway)) as fleet:
        [sfu] = fleet.sfus
        await eventually(lambda: gateway.heartbeats)
    beat = gateway.heartbeats[0]
    assert beat.pop("instance")
    assert {"cpuUsage", "memoryUsage"} <= beat.keys()
    assert 0 <= beat.pop("cpuUsage") <= 1
    assert 0 <= beat.pop("memoryUsage") <= 1
    assert beat == {
        "status": "up",
        "address": sfu.address,
        "region": "eu-west",
        "key": sfu.config.key.to_base64(),
        "channels": 0,
        "sessions": 0,
    }


async def test_a_restart_is_another_instance(gateway: FakeGateway) -> None:
    async with Fleet(reporting_to(gateway)) as fleet:
        [sfu] = fleet.sfus
        await eventually(lambda: gateway.heartbeats)
        sfu.kill()
        await sfu.start()
        await eventually(lambda: len({beat["instance"] for beat in gateway.heartbeats}) == 2)


async def test_fixed_figures_capacity_and_the_wish_to_drain_are_reported(gateway: FakeGateway) -> None:
    async with Fleet(reporting_to(gateway, max_sessions=500)) as fleet:
        [sfu] = fleet.sfus
        sfu.fix_figures(Figures(channels=12, sessions=45, cpu_usage=0.35, memory_usage=0.48))
        sfu.draining = True
        assert sfu.heartbeats
        assert await sfu.heartbeats.beat()
    beat = gateway.heartbeats[-2]
    reported = {name: beat[name] for name in ("channels", "sessions", "cpuUsage", "memoryUsage")}
    assert reported == {"channels": 12, "sessions": 45, "cpuUsage": 0.35, "memoryUsage": 0.48}
    assert (beat["maxSessions"], beat["draining"]) == (500, True)


async def test_leaving_the_fleet_signs_every_sfu_off(gateway: FakeGateway) -> None:
    async with Fleet(reporting_to(gateway, count=3)) as fleet:
        await eventually(lambda: len(gateway.heartbeats) == 3)
    for sfu in fleet.sfus:
        assert gateway.statuses_of(sfu.address) == ["up", "down"]


async def test_a_killed_sfu_does_not_sign_off(gateway: FakeGateway) -> None:
    async with Fleet(reporting_to(gateway, count=2)) as fleet:
        await eventually(lambda: len(gateway.heartbeats) == 2)
        killed, other = fleet.sfus
        killed.kill()
    assert gateway.statuses_of(killed.address) == ["up"]
    assert gateway.statuses_of(other.address) == ["up", "down"]


async def test_a_silent_sfu_serves_on_and_speaks_again_when_told_over_http(gateway: FakeGateway) -> None:
    async with Fleet(reporting_to(gateway)) as fleet, httpx.AsyncClient() as client:
        [sfu] = fleet.sfus
        await eventually(lambda: len(gateway.heartbeats) == 1)
        await client.post(f"{sfu.address}/_sim/heartbeats", json={"silent": True})
        assert (await client.get(f"{sfu.address}/v1/noop")).status_code == 200
        assert len(gateway.heartbeats) == 1
        await client.post(f"{sfu.address}/_sim/heartbeats", json={"silent": False})
        await eventually(lambda: len(gateway.heartbeats) == 2)


async def test_a_drain_that_the_gateway_orders_shows_in_the_state(gateway: FakeGateway) -> None:
    gateway.reply = {"status": "ok", "draining": True}
    async with Fleet(reporting_to(gateway)) as fleet:
        await eventually(lambda: fleet.sfus[0].state()["toldToDrain"])
    assert all("draining" not in beat for beat in gateway.heartbeats)


async def test_the_command_announces_its_sfus_and_signs_them_off_on_sigterm(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    command = fleet_command(gateway, tmp_path, "--sfus", "2", "--regions", "eu-west,us-east")
    with command:
        lines = [json.loads(line) for line in command.output.splitlines()]
        await eventually(lambda: len(gateway.heartbeats) == 2)
        assert await asyncio.to_thread(command.terminate) == 0
    assert [line["region"] for line in lines] == ["eu-west", "us-east"]
    assert all(line.keys() == {"address", "region", "pid"} for line in lines)
    assert {line["pid"] for line in lines} == {command.pid}
    for line in lines:
        assert gateway.statuses_of(line["address"]) == ["up", "down"]


async def test_the_command_signs_with_the_key_of_the_environment_and_shows_keys_when_asked(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    with fleet_command(gateway, tmp_path, "--sfus", "1", "--show-keys") as command:
        [line] = [json.loads(line) for line in command.output.splitlines()]
        await eventually(lambda: gateway.heartbeats)
        await asyncio.to_thread(command.terminate)
    assert gateway.heartbeats[0]["key"] == line["key"]
    token = gateway.headers[0]["Authorization"].removeprefix("Bearer ")
    assert verify(token, [REGISTRATION_KEY], now=0)


def fleet_command(gateway: FakeGateway, tmp_path: Path, *arguments: str) -> Process:
    key = REGISTRATION_KEY.to_base64()
    return ModuleProcess(
        "workers.simulator",
        *["--gateway", gateway.url, *arguments],
        log=tmp_path / "fleet.log",
        env={"SFU_GATEWAY_REGISTRATION__KEY": key},
        cwd=Path(__file__).parents[3],
        ready=prints(r"\}\n$"),
    )


def test_a_registration_key_that_is_not_base64_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--registration-key", "n*t-b@se64"])
    assert "n*t-b@se64" not in capsys.readouterr().err
