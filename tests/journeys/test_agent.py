"""The agent as its users run it: real processes, against fake and real gateways, with restarts of each side."""

import asyncio
import functools
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from app.crypto.tokens import Key, verify
from tests.support.forking import ModuleProcess
from tests.support.gateway import FakeGateway, running_gateway
from tests.support.plain_http import NO_CERTIFICATES
from tests.support.ports import HOST, free_port
from tests.support.processes import Process, ProcessFailed, answers, prints
from tests.support.simulated import KEY, NO_PEOPLE, running_sfu
from tests.support.waiting import eventually
from workers.simulator.sfu import SfuConfig, SimulatedSfu

COMMAND = Path(sys.executable).with_name("sfu-gateway")
REGISTRATION_KEY = Key(b"the key that lets SFUs register!")
ODOO_KEY = Key(b"the key that Odoo signs with: 32")
DOCS = Path(__file__).parents[2] / "docs"
NOBODY_LISTENS = "http://127.0.0.1:9"
MAX_RSS_BYTES = 40 << 20
MAX_CPU_SHARE = 0.01


SECRETS = KEY.to_base64(), REGISTRATION_KEY.to_base64()


@pytest.fixture
async def sfu() -> AsyncIterator[SimulatedSfu]:
    async with running_sfu(SfuConfig(key=KEY, people=NO_PEOPLE, proxy=True)) as (running, _):
        yield running


@pytest.fixture
async def fake_gateway() -> AsyncIterator[FakeGateway]:
    async with running_gateway() as running:
        running.reply = {"status": "ok", "nextPingMs": 100, "draining": False}
        yield running


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator["Gateway"]:
    with Gateway(free_port(), tmp_path) as running:
        yield running


class Gateway(ModuleProcess):
    """A real gateway with an embedded redis: after a restart it knows nobody."""

    def __init__(self, port: int, directory: Path) -> None:
        self.url = f"http://{HOST}:{port}"
        super().__init__(
            "app",
            "serve",
            log=directory / "gateway.log",
            env={
                "SFU_GATEWAY_BIND": HOST,
                "SFU_GATEWAY_PORT": str(port),
                "SFU_GATEWAY_KEY": ODOO_KEY.to_base64(),
                "SFU_GATEWAY_REGISTRATION__KEY": REGISTRATION_KEY.to_base64(),
                "SFU_GATEWAY_HEALTH__PING_INTERVAL_MS": "200",
                "SFU_GATEWAY_HEALTH__UNHEALTHY_THRESHOLD": "1.5",
                # The agent reports how busy this machine is, and a test run keeps it very busy.
                "SFU_GATEWAY_OVERLOAD__MAX_LOAD": "9",
                "SFU_GATEWAY_OVERLOAD__MAX_CPU": "9",
                "SFU_GATEWAY_OVERLOAD__MAX_MEMORY": "9",
            },
            ready=answers(f"{self.url}/readyz"),
            ready_seconds=20,
        )

    async def health(self) -> dict[str, Any]:
        """Return what `/v1/health` says."""
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, verify=NO_CERTIFICATES) as client:
            return dict((await client.get("/v1/health")).json())

    async def entry_of(self, sfu: SimulatedSfu) -> dict[str, Any]:
        """Return what `/v1/health` says of one SFU, nothing when it does not know it."""
        entries = (await self.health())["sfus"]
        return next((entry for entry in entries if entry["address"] == sfu.address), {})

    async def sees(self, sfu: SimulatedSfu, **expected: object) -> bool:
        """Whether what `/v1/health` says of one SFU includes `expected`."""
        entry = await self.entry_of(sfu)
        return all(entry.get(name) == value for name, value in expected.items())


def agent_for(sfu: SimulatedSfu, tmp_path: Path, *gateways: str, **variables: str) -> Process:
    own = {"SFU_GATEWAY_URL": ",".join(gateways), "SFU_ADDRESS": sfu.address}
    return agent_command(tmp_path, **own | variables)


def agent_command(tmp_path: Path, **variables: str) -> Process:
    env = {
        "SFU_GATEWAY_PING_INTERVAL": "100",
        "SFU_GATEWAY_REGISTRATION__KEY": REGISTRATION_KEY.to_base64(),
        "SFU_REGION": "eu-west",
        "AUTH_KEY": KEY.to_base64(),
        "PUBLIC_IP": HOST,
        "SFU_MAX_SESSIONS": "500",
        "SFU_AGENT_PORT": "0",
    }
    return Process(
        [COMMAND, "agent"],
        log=tmp_path / "agent.log",
        env=env | variables,
        ready=prints("speaking for"),
        ready_seconds=20,
    )


def shows_no_secret(agent: Process) -> bool:
    return not any(secret in agent.output for secret in SECRETS)


async def test_it_registers_and_its_figures_arrive(
    sfu: SimulatedSfu, gateway: Gateway, tmp_path: Path
) -> None:
    sfu.channels.create("198.51.100.7", "call").sessions |= {1, 2, 3}
    with agent_for(sfu, tmp_path, gateway.url) as agent:
        await eventually(functools.partial(gateway.sees, sfu, status="up"))
        entry = await gateway.entry_of(sfu)
        assert shows_no_secret(agent)
    expected = {"region": "eu-west", "channels": 1, "sessions": 3, "maxSessions": 500}
    assert {name: entry[name] for name in expected} == expected
    assert 0 < entry["memoryUsage"] <= 1


async def test_sigterm_signs_off_at_once(sfu: SimulatedSfu, gateway: Gateway, tmp_path: Path) -> None:
    with agent_for(sfu, tmp_path, gateway.url) as agent:
        await eventually(functools.partial(gateway.sees, sfu, status="up"))
        assert (await gateway.health())["selectable"] == 1
        assert await asyncio.to_thread(agent.terminate) == 0
        await eventually(functools.partial(gateway.sees, sfu, status="down"))  # health is up to a second old
        assert (await gateway.health())["selectable"] == 0


async def test_an_sfu_that_dies_is_reported_no_more_and_one_that_is_back_is(
    sfu: SimulatedSfu, gateway: Gateway, tmp_path: Path
) -> None:
    with agent_for(sfu, tmp_path, gateway.url) as agent:
        await eventually(functools.partial(gateway.sees, sfu, status="up"))
        sfu.kill()
        await eventually(functools.partial(gateway.sees, sfu, status="down"), timeout_seconds=10)
        assert "the SFU does not answer, so it is not reported" in agent.output
        await sfu.start()
        await eventually(functools.partial(gateway.sees, sfu, status="up"), timeout_seconds=10)


async def test_a_gateway_that_lost_everything_learns_it_again(
    sfu: SimulatedSfu, gateway: Gateway, tmp_path: Path
) -> None:
    with agent_for(sfu, tmp_path, gateway.url):
        await eventually(functools.partial(gateway.sees, sfu, status="up"))
        await asyncio.to_thread(gateway.kill)
        await asyncio.to_thread(gateway.start)
        await eventually(functools.partial(gateway.sees, sfu, status="up"), timeout_seconds=10)


async def test_the_second_gateway_is_used_at_once_when_the_first_is_dead(
    sfu: SimulatedSfu, fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    fake_gateway.reply = {"nextPingMs": 3_600_000}  # one report alone
    interval = {"SFU_GATEWAY_PING_INTERVAL": "3600000"}
    with agent_for(sfu, tmp_path, NOBODY_LISTENS, fake_gateway.url, **interval) as agent:
        await eventually(lambda: fake_gateway.heartbeats)
        await asyncio.to_thread(agent.terminate)
    assert fake_gateway.statuses_of(sfu.address) == ["up", "down"]


async def test_the_interval_of_the_replies_is_kept(
    sfu: SimulatedSfu, fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    with agent_for(sfu, tmp_path, fake_gateway.url, SFU_GATEWAY_PING_INTERVAL="3600000"):
        await eventually(lambda: len(fake_gateway.heartbeats) >= 4)


async def test_every_heartbeat_has_a_fresh_token(
    sfu: SimulatedSfu, fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    with agent_for(sfu, tmp_path, fake_gateway.url):
        await eventually(lambda: fake_gateway.headers)
    scheme, _, token = fake_gateway.headers[0]["Authorization"].partition(" ")
    assert scheme == "Bearer"
    assert verify(token, [REGISTRATION_KEY], now=0)


async def test_refusals_are_logged_once_and_without_secrets(
    sfu: SimulatedSfu, fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    fake_gateway.status, fake_gateway.reply = 401, {"code": "credentials_invalid", "detail": SECRETS[0]}
    with agent_for(sfu, tmp_path, fake_gateway.url) as agent:
        await eventually(lambda: len(fake_gateway.checked) >= 3)
        assert fake_gateway.heartbeats == []
        assert agent.output.count("answered 401 (credentials_invalid)") == 1
        assert shows_no_secret(agent)


async def test_its_own_port_tells_how_it_is(
    sfu: SimulatedSfu, fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    port = free_port()
    with agent_for(sfu, tmp_path, fake_gateway.url, SFU_AGENT_PORT=str(port)):
        async with httpx.AsyncClient(
            base_url=f"http://{HOST}:{port}", trust_env=False, verify=NO_CERTIFICATES
        ) as client:
            assert (await client.get("/livez")).status_code == 200

            async def is_ready() -> bool:
                return (await client.get("/readyz")).status_code == 200

            await eventually(is_ready)
            assert "sfu_agent_sfu_up 1\n" in (await client.get("/metrics")).text
            sfu.kill()

            async def is_not_ready() -> bool:
                return not await is_ready()

            await eventually(is_not_ready)
            assert "sfu_agent_sfu_up 0\n" in (await client.get("/metrics")).text


@pytest.mark.skipif("coverage" in sys.modules, reason="coverage alone takes 7 MB")
async def test_it_stays_small(sfu: SimulatedSfu, fake_gateway: FakeGateway, tmp_path: Path) -> None:
    """Measured over 50 heartbeats, eight minutes of a real SFU's, with 300 channels to sum up."""
    fake_gateway.reply = {"nextPingMs": 10}
    for number in range(300):
        sfu.channels.create("198.51.100.7", f"call {number}")
    with agent_for(sfu, tmp_path, fake_gateway.url) as agent:
        await eventually(lambda: fake_gateway.heartbeats)
        process = psutil.Process(agent.pid)
        first, used_before = len(fake_gateway.heartbeats), cpu_seconds(process)
        await eventually(lambda: len(fake_gateway.heartbeats) >= first + 50, timeout_seconds=30)
        count, used = len(fake_gateway.heartbeats) - first, cpu_seconds(process) - used_before
        assert process.memory_info().rss < MAX_RSS_BYTES
    assert used / count < 10 * MAX_CPU_SHARE  # seconds per heartbeat, of which one comes every ten


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


async def test_a_wrong_auth_key_refuses_to_register(
    sfu: SimulatedSfu, gateway: Gateway, tmp_path: Path
) -> None:
    with agent_for(sfu, tmp_path, gateway.url, AUTH_KEY=ODOO_KEY.to_base64()) as agent:
        await eventually(lambda: "AUTH_KEY is not this SFU's" in agent.output)
        assert await gateway.entry_of(sfu) == {}


async def test_an_address_that_the_gateway_cannot_reach_refuses_to_register(
    sfu: SimulatedSfu, gateway: Gateway, tmp_path: Path
) -> None:
    own = {"SFU_ADDRESS": NOBODY_LISTENS, "SFU_LOCAL_URL": sfu.address}
    with agent_for(sfu, tmp_path, gateway.url, **own) as agent:
        expected = f"the gateway cannot reach the SFU at {NOBODY_LISTENS}: set SFU_ADDRESS"
        await eventually(lambda: expected in agent.output)
        assert (await gateway.health())["sfus"] == []


async def test_agent_check_says_what_is_wrong_and_registers_nothing(
    sfu: SimulatedSfu, gateway: Gateway, tmp_path: Path
) -> None:
    env = {
        "SFU_GATEWAY_URL": gateway.url,
        "SFU_GATEWAY_REGISTRATION__KEY": REGISTRATION_KEY.to_base64(),
        "SFU_ADDRESS": sfu.address,
    }

    async def check(key: Key) -> tuple[int | None, str]:
        command = Process(
            [COMMAND, "agent", "--check"], log=tmp_path / "check.log", env=env | {"AUTH_KEY": key.to_base64()}
        )
        with command:
            status = await asyncio.to_thread(command.wait, 20)
        return status, command.output

    status, output = await check(KEY)
    assert (status, output.count("ok ")) == (0, 6)
    status, output = await check(ODOO_KEY)
    assert status == 1
    assert "FAIL  AUTH_KEY" in output
    assert "FAIL  gateway" in output
    assert (await gateway.health())["sfus"] == []


async def test_an_agent_with_a_wrong_clock_is_told_by_how_much(
    sfu: SimulatedSfu, gateway: Gateway, tmp_path: Path
) -> None:
    """The clock cannot be set back here, so the played agent makes the token of an agent whose clock is."""
    now = time.time()
    token = REGISTRATION_KEY.sign({"sub": sfu.address, "iat": now - 3600, "exp": now - 3540})
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False, verify=NO_CERTIFICATES) as client:
        answer = await client.post("/v1/sfu", json={}, headers={"Authorization": f"Bearer {token}"})
    assert answer.json()["code"] == "credentials_expired"
    assert -3610 < answer.json()["clockDifferenceSeconds"] < -3590


async def test_the_commands_of_the_docs_work(sfu: SimulatedSfu, gateway: Gateway, tmp_path: Path) -> None:
    replaced = {
        "https://gateway.example.com": gateway.url,
        "http://gateway:8071": gateway.url,
        "http://sfu1:8070": sfu.address,
    }
    with agent_for(sfu, tmp_path, gateway.url):
        await eventually(functools.partial(gateway.sees, sfu, status="up"))
        asked = await asyncio.to_thread(run_documented, "odoo.md", replaced, tmp_path)
        checked = await asyncio.to_thread(run_documented, "sfu.md", replaced, tmp_path)
    assert json.loads(asked).keys() == {"uuid", "url"}
    assert checked.count("clauses kept") == 2
    assert "FAIL" not in checked


def run_documented(page: str, replaced: dict[str, str], tmp_path: Path) -> str:
    """Run the first shell example of a page, with other URLs, and return what it printed."""
    text = (DOCS / page).read_text(encoding="utf-8")
    command = text.split("```sh\n")[1].split("```")[0]
    for documented, real in replaced.items():
        command = command.replace(documented, real)
    env = {
        "PATH": f"{COMMAND.parent}:{os.environ['PATH']}",
        "SFU_GATEWAY_KEY": ODOO_KEY.to_base64(),
        "SFU_GATEWAY_REGISTRATION__KEY": REGISTRATION_KEY.to_base64(),
        "AUTH_KEY": KEY.to_base64(),
    }
    example = Process(["bash", "-euc", command], log=tmp_path / f"{page}.log", env=env).start()
    assert example.wait(60) == 0, example.output
    return example.output


@pytest.mark.parametrize("name", ["AUTH_KEY", "SFU_GATEWAY_URL"])
def test_a_wrong_setting_ends_it_with_status_3_and_its_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ProcessFailed, match=rf"status 3 (.|\n)*\n{name}: ") as failure:
        agent_command(tmp_path, **{"SFU_GATEWAY_URL": NOBODY_LISTENS, name: "s*cret"}).start()
    assert "s*cret" not in str(failure.value)


def test_a_taken_port_ends_it_with_status_1(tmp_path: Path) -> None:
    port = free_port()
    with (
        socket.create_server((HOST, port)),
        pytest.raises(ProcessFailed, match=r"status 1 (.|\n)*SFU_AGENT_PORT"),
    ):
        agent_command(tmp_path, SFU_GATEWAY_URL=NOBODY_LISTENS, SFU_AGENT_PORT=str(port)).start()
