"""The agent in this process: what it reports, when it does not, what it logs and shows."""

import base64
import contextlib
import logging
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from app.registration.service import HeartbeatBody
from tests.support.gateway import FakeGateway, running_gateway
from tests.support.simulated import KEY, Clock, running_sfu
from tests.support.waiting import eventually
from workers.agent.agent import Agent, Figures, read_figures
from workers.agent.client import RequestFailed
from workers.agent.settings import AgentSettings
from workers.agent.usage import UsageMeter
from workers.simulator.faults import Fault, Garbage, NoFault, Refuse, Status
from workers.simulator.sfu import SimulatedSfu

KEY_TEXT = base64.b64encode(KEY.secret).decode()
NOBODY_LISTENS = "http://127.0.0.1:9"


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with running_gateway() as running:
        yield running


@pytest.fixture
async def sfu() -> AsyncIterator[SimulatedSfu]:
    async with running_sfu() as (running, _):
        yield running


def agent_of(sfu: SimulatedSfu, gateway_url: str, clock: Clock | None = None, **variables: Any) -> Agent:
    given = {"SFU_GATEWAY_URL": gateway_url, "AUTH_KEY": KEY_TEXT, "SFU_ADDRESS": sfu.address} | variables
    settings = AgentSettings.model_validate(given)
    return Agent(settings, new_meter=lambda: UsageMeter(None), random=Random(1), clock=clock or Clock())


async def test_the_report_is_a_heartbeat_that_the_gateway_takes(
    sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    for number in range(2):
        sfu.channels.create("198.51.100.7", f"call {number}").sessions |= {1, 2, 3}
    agent = agent_of(
        sfu,
        gateway.url,
        SFU_REGION="eu-west",
        SFU_MAX_SESSIONS="500",
        SFU_PUBLIC_URL="https://sfu1.example.com",
    )
    assert await agent.heartbeats.beat()
    [beat] = gateway.heartbeats
    HeartbeatBody.model_validate(beat, extra="forbid")
    assert 0 <= beat.pop("cpuUsage") <= 1
    assert 0 < beat.pop("memoryUsage") <= 1
    assert beat == {
        "status": "up",
        "address": sfu.address,
        "region": "eu-west",
        "key": KEY_TEXT,
        "channels": 2,
        "sessions": 6,
        "maxSessions": 500,
        "publicUrl": "https://sfu1.example.com",
    }


async def test_the_operator_s_drain_is_noted_and_not_echoed(sfu: SimulatedSfu, gateway: FakeGateway) -> None:
    agent = agent_of(sfu, gateway.url)
    gateway.reply = {"status": "ok", "nextPingMs": 2500, "draining": True}
    await agent.heartbeats.beat()
    await agent.heartbeats.beat()
    assert agent.heartbeats.is_told_to_drain
    assert agent.heartbeats.interval_ms == 2500
    assert all("draining" not in beat for beat in gateway.heartbeats)


@pytest.mark.parametrize("next_ping_ms", [True, 0, -1, 10**9, float("inf"), float("nan"), "7", None])
async def test_an_interval_that_makes_no_sense_is_not_followed(
    sfu: SimulatedSfu, gateway: FakeGateway, next_ping_ms: Any
) -> None:
    agent = agent_of(sfu, gateway.url)
    gateway.reply = {"nextPingMs": next_ping_ms}
    assert await agent.heartbeats.beat()
    assert agent.heartbeats.interval_ms == 10_000


@pytest.mark.parametrize(
    "fault",
    [Refuse(), Status(status=500), Status(status=500, route="/v1/stats"), Garbage(route="/v1/stats")],
    ids=lambda fault: f"{fault.fault} {fault.route}",
)
async def test_an_sfu_that_does_not_answer_is_not_reported_until_it_does(
    sfu: SimulatedSfu, gateway: FakeGateway, fault: Fault
) -> None:
    agent = agent_of(sfu, gateway.url)
    await sfu.set_fault(fault)
    assert not await agent.heartbeats.beat()
    assert gateway.heartbeats == []
    await sfu.set_fault(NoFault())
    assert await agent.heartbeats.beat()
    assert len(gateway.heartbeats) == 1


async def test_signing_off_needs_no_answer_of_the_sfu(sfu: SimulatedSfu, gateway: FakeGateway) -> None:
    agent = agent_of(sfu, gateway.url)
    agent.heartbeats.start()
    await eventually(lambda: gateway.heartbeats)
    await sfu.set_fault(Refuse())
    await agent.heartbeats.sign_off()
    assert gateway.statuses_of(sfu.address) == ["up", "down"]


async def test_one_line_is_logged_per_change_and_none_per_heartbeat(
    sfu: SimulatedSfu, gateway: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    agent = agent_of(sfu, gateway.url, SFU_GATEWAY_REGISTRATION__KEY=KEY_TEXT)
    with caplog.at_level(logging.INFO):
        await beat_twice(agent)
        gateway.status, gateway.reply = 409, {"code": "address_leased", "detail": KEY_TEXT}
        await beat_twice(agent)
        await sfu.set_fault(Status(status=503))
        await beat_twice(agent)
        await sfu.set_fault(NoFault())
        gateway.status, gateway.reply = 200, {"draining": True}
        await beat_twice(agent)
    assert [record.getMessage() for record in caplog.records] == [
        "measuring CPU of the machine, memory of the machine",
        f"{gateway.url} takes the heartbeats",
        f"no heartbeat, will try again: {gateway.url}/v1/sfu answered 409 (address_leased)",
        "no heartbeat, will try again: the SFU does not answer, so it is not reported: "
        f"{sfu.address}/v1/noop answered 503",
        f"{gateway.url} takes the heartbeats",
        "the gateway drains this SFU",
    ]


async def beat_twice(agent: Agent) -> None:
    await agent.heartbeats.beat()
    await agent.heartbeats.beat()


@pytest.mark.parametrize("code", [KEY_TEXT, "x" * 33, "", 7, None])
async def test_what_is_no_error_code_is_not_logged(
    sfu: SimulatedSfu, gateway: FakeGateway, caplog: pytest.LogCaptureFixture, code: Any
) -> None:
    gateway.status, gateway.reply = 400, {"code": code}
    await agent_of(sfu, gateway.url).heartbeats.beat()
    assert caplog.messages == [f"no heartbeat, will try again: {gateway.url}/v1/sfu answered 400"]


async def test_a_gateway_that_is_none_is_a_failure(sfu: SimulatedSfu) -> None:
    async with running_sfu() as (other, _):
        assert not await agent_of(sfu, other.address).heartbeats.beat()
    assert not await agent_of(sfu, NOBODY_LISTENS).heartbeats.beat()


async def test_the_second_gateway_is_used_at_once_when_the_first_is_away(
    sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    assert await agent_of(sfu, f"{NOBODY_LISTENS},{gateway.url}").heartbeats.beat()
    assert len(gateway.heartbeats) == 1


async def test_ready_means_that_the_sfu_answers_and_a_gateway_takes_it(
    sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    agent = agent_of(sfu, gateway.url)
    ready = agent.pages()["/readyz"]
    assert ready().text == "the SFU does not answer\n"
    gateway.status = 503
    await agent.heartbeats.beat()
    assert ready().text == "no gateway takes the heartbeats\n"
    gateway.status = 200
    await agent.heartbeats.beat()
    assert ready().status == 200
    await sfu.set_fault(Refuse())
    await agent.heartbeats.beat()
    assert ready().status == 503
    assert agent.pages()["/livez"]().status == 200


async def test_metrics_tell_of_the_sfu_and_of_the_heartbeats(sfu: SimulatedSfu, gateway: FakeGateway) -> None:
    clock = Clock()
    agent = agent_of(sfu, gateway.url, clock)
    assert "last_heartbeat_age" not in metrics_of(agent)
    await beat_twice(agent)
    clock.now += 7.5
    gateway.status, gateway.reply = 503, {}
    await agent.heartbeats.beat()
    assert metrics_of(agent) == {
        "sfu_agent_sfu_up": "1",
        "sfu_agent_heartbeats_total": "2",
        "sfu_agent_heartbeat_failures_total": "1",
        "sfu_agent_told_to_drain": "0",
        "sfu_agent_last_heartbeat_age_seconds": "7.5",
    }


def metrics_of(agent: Agent) -> dict[str, str]:
    lines = agent.pages()["/metrics"]().text.splitlines()
    return dict(line.split(" ", 1) for line in lines if not line.startswith("#"))


def test_figures_are_the_channels_and_the_people_in_them() -> None:
    stats = b'[{"sessionsStats": {"count": 2}}, {"sessionsStats": {"count": 3}, "uuid": "new"}]'
    assert read_figures(stats) == Figures(channels=2, sessions=5)
    assert read_figures(b"[]") == Figures(0, 0)


@pytest.mark.parametrize("stats", [b"", b"{", b"7", b"[1]", b'[{"sessionsStats": {}}]', b"[" * 100_000])
def test_statistics_of_another_shape_are_no_figures(stats: bytes) -> None:
    with pytest.raises(RequestFailed):
        read_figures(stats)


async def test_heartbeats_go_on_while_an_sfu_comes_and_goes(sfu: SimulatedSfu, gateway: FakeGateway) -> None:
    gateway.reply = {"nextPingMs": 20}
    agent = agent_of(sfu, gateway.url, SFU_GATEWAY_PING_INTERVAL="20")
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(agent.heartbeats.halt)
        agent.heartbeats.start()
        await eventually(lambda: len(gateway.heartbeats) >= 2)
        await sfu.set_fault(Refuse())
        await eventually(lambda: not agent.sfu_is_up)
        before = len(gateway.heartbeats)
        await sfu.set_fault(NoFault())
        await eventually(lambda: len(gateway.heartbeats) > before)
