"""The agent in this process: what it reports, when it does not, what it logs and shows."""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, TypeAlias

import pytest

from app.background import in_background
from app.crypto.tokens import Key
from app.registration.service import HeartbeatBody
from app.upstream.client import Forwarder, ForwardError
from tests.support.gateway import FakeGateway, running_gateway
from tests.support.simulated import KEY, NO_PEOPLE, Clock, running_sfu
from tests.support.waiting import eventually
from workers.agent.agent import (
    FIRST_MEASURES,
    LOOKS_UNTIL_GONE,
    WATCH_SECONDS,
    Agent,
    check,
    first_usage,
    new_client,
)
from workers.agent.settings import AgentSettings
from workers.agent.sfu import ProcessWatch
from workers.agent.usage import Usage, UsageMeter
from workers.simulator.faults import Fault, Garbage, Hang, NoFault, Refuse, Status, WrongClock
from workers.simulator.sfu import SfuConfig, SimulatedSfu
from workers.simulator.tokens import Dialect

KEY_TEXT = KEY.to_base64()
NOBODY_LISTENS = "http://127.0.0.1:9"


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with running_gateway() as running:
        yield running


@pytest.fixture
async def sfu() -> AsyncIterator[SimulatedSfu]:
    async with running_sfu(SfuConfig(key=KEY, people=NO_PEOPLE, proxy=True)) as (running, _):
        yield running


@pytest.fixture
async def client() -> AsyncIterator[Forwarder]:
    async with new_client() as client:
        yield client


AgentOf: TypeAlias = Callable[..., Agent]


@pytest.fixture
def agent_of(client: Forwarder) -> AgentOf:
    """Makes agents that measure without waiting, of SFUs whose process nobody sees."""

    def make(sfu: SimulatedSfu, gateway_url: str, clock: Clock | None = None, **variables: Any) -> Agent:
        settings = settings_of(sfu, gateway_url, **variables)
        return Agent(
            settings,
            client,
            new_meter=lambda: UsageMeter(None),
            random=Random(1),
            clock=clock or time.time,
            pause=no_pause,
            watch=ProcessWatch(settings, find=lambda _: None),
        )

    return make


async def no_pause(_: float) -> None:
    """Wait for nothing."""


def settings_of(sfu: SimulatedSfu, gateway_url: str, **variables: Any) -> AgentSettings:
    given = {"SFU_GATEWAY_URL": gateway_url, "AUTH_KEY": KEY_TEXT, "SFU_ADDRESS": sfu.address}
    return AgentSettings.model_validate(given | variables)


async def test_the_report_is_a_heartbeat_that_the_gateway_takes(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway
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
        "instance": agent._watch.instance,  # noqa: SLF001
    }


async def test_the_operator_s_drain_is_noted_and_not_echoed(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    agent = agent_of(sfu, gateway.url)
    gateway.reply = {"status": "ok", "nextPingMs": 2500, "draining": True}
    await agent.heartbeats.beat()
    await agent.heartbeats.beat()
    assert agent.heartbeats.is_told_to_drain
    assert agent.heartbeats.interval_ms == 2500
    assert all("draining" not in beat for beat in gateway.heartbeats)


@pytest.mark.parametrize("next_ping_ms", [True, 0, -1, "7", None, [], {}])
async def test_an_interval_that_makes_no_sense_is_not_followed(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway, next_ping_ms: Any
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
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway, fault: Fault
) -> None:
    agent = agent_of(sfu, gateway.url)
    await sfu.set_fault(fault)
    assert not await agent.heartbeats.beat()
    assert gateway.heartbeats == []
    await sfu.set_fault(NoFault())
    assert await agent.heartbeats.beat()
    assert len(gateway.heartbeats) == 1


async def test_signing_off_needs_no_answer_of_the_sfu(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    agent = agent_of(sfu, gateway.url)
    agent.heartbeats.start()
    await eventually(lambda: gateway.heartbeats)
    await sfu.set_fault(Refuse())
    await agent.heartbeats.sign_off()
    assert gateway.statuses_of(sfu.address) == ["up", "down"]


async def test_one_line_is_logged_per_change_and_none_per_heartbeat(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway, caplog: pytest.LogCaptureFixture
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
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway, caplog: pytest.LogCaptureFixture, code: Any
) -> None:
    gateway.status, gateway.reply = 400, {"code": code}
    await agent_of(sfu, gateway.url).heartbeats.beat()
    assert caplog.messages == [f"no heartbeat, will try again: {gateway.url}/v1/sfu answered 400"]


async def test_a_gateway_that_is_none_is_a_failure(agent_of: AgentOf, sfu: SimulatedSfu) -> None:
    async with running_sfu() as (other, _):
        assert not await agent_of(sfu, other.address).heartbeats.beat()
    assert not await agent_of(sfu, NOBODY_LISTENS).heartbeats.beat()


async def test_the_second_gateway_is_used_at_once_when_the_first_is_away(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    assert await agent_of(sfu, f"{NOBODY_LISTENS},{gateway.url}").heartbeats.beat()
    assert len(gateway.heartbeats) == 1


async def test_ready_means_that_the_sfu_answers_and_a_gateway_takes_it(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    agent = agent_of(sfu, gateway.url)
    ready = agent.pages()["/readyz"]
    assert ready().text == "the SFU does not answer\n"
    gateway.status = 503
    await agent.heartbeats.beat()
    assert ready().text == f"no gateway takes the heartbeats: {gateway.url}/v1/sfu answered 503\n"
    gateway.status = 200
    await agent.heartbeats.beat()
    assert ready().status == 200
    await sfu.set_fault(Refuse())
    await agent.heartbeats.beat()
    assert ready().status == 503
    assert agent.pages()["/livez"]().status == 200


async def test_metrics_tell_of_the_sfu_and_of_the_heartbeats(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    clock = Clock(time.time())
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


async def test_heartbeats_go_on_while_an_sfu_comes_and_goes(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
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


# What is checked before the SFU joins


OTHER_KEY = Key(b"a key that is not this SFU's own")
OTHER_TEXT = OTHER_KEY.to_base64()


@pytest.mark.parametrize("dialect", ["odoo", "strict"])
async def test_an_sfu_with_another_key_is_not_reported(
    agent_of: AgentOf, gateway: FakeGateway, dialect: Dialect
) -> None:
    async with running_sfu(SfuConfig(key=OTHER_KEY, people=NO_PEOPLE, dialect=dialect)) as (sfu, _):
        agent = agent_of(sfu, gateway.url)
        assert not await agent.heartbeats.beat()
        assert "AUTH_KEY is not this SFU's: it answered 422" in agent.heartbeats.failure
        assert KEY_TEXT not in agent.heartbeats.failure
        assert (gateway.heartbeats, gateway.checked, sfu.channels.by_uuid) == ([], [], {})
        assert "AUTH_KEY is not this SFU's" in agent.pages()["/readyz"]().text
        assert await agent_of(sfu, gateway.url, AUTH_KEY=OTHER_TEXT).heartbeats.beat()


async def test_an_sfu_whose_clock_is_far_ahead_is_told_from_one_with_another_key(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    await sfu.set_fault(WrongClock(seconds_ahead=3600))
    agent = agent_of(sfu, gateway.url)
    assert not await agent.heartbeats.beat()
    assert re.search(r"the SFU's clock is 3[56]\d\d s ahead of this machine's", agent.heartbeats.failure)
    sfu.api.fault, sfu.fault = sfu.fault, NoFault()  # without a Date that tells by how much
    assert not await agent.heartbeats.beat()
    assert "the SFU's clock is more than 390 s ahead" in agent.heartbeats.failure


async def test_an_sfu_whose_clock_is_off_by_less_joins_with_a_warning(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    await sfu.set_fault(WrongClock(seconds_ahead=-3600))
    assert await agent_of(sfu, gateway.url).heartbeats.beat()
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert re.search(r"the SFU's clock is 3[56]\d\d s behind this machine's: run NTP on both", warning)


async def test_an_sfu_without_the_route_that_checks_keys_joins(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    await sfu.set_fault(Status(status=404, route="/v1/disconnect"))
    assert await agent_of(sfu, gateway.url).heartbeats.beat()


@pytest.mark.parametrize(
    ("checks", "failure"),
    [
        ({"reachable": False, "keyAccepted": None}, "the gateway cannot reach the SFU at"),
        ({"reachable": True, "keyAccepted": False}, "the gateway reaches another SFU at"),
        (
            {"reachable": True, "keyAccepted": False, "clockAheadSeconds": 3600},
            "its clock is 3600 s ahead of the gateway's: run NTP on both",
        ),
    ],
)
async def test_an_sfu_that_the_gateway_cannot_use_is_not_reported_until_it_can(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway, checks: dict[str, Any], failure: str
) -> None:
    agent = agent_of(sfu, gateway.url)
    gateway.checks = checks
    assert not await agent.heartbeats.beat()
    assert failure in agent.heartbeats.failure
    assert gateway.heartbeats == []
    gateway.checks = {"reachable": True, "keyAccepted": None}
    assert await agent.heartbeats.beat()
    assert await agent.heartbeats.beat()
    assert [beat["status"] for beat in gateway.checked] == ["check", "check"]


async def test_a_gateway_that_knows_no_checks_is_joined(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    gateway.checks = None
    assert await agent_of(sfu, gateway.url).heartbeats.beat()


async def test_an_agent_that_joins_leaves_no_channel_on_the_sfu(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    await beat_twice(agent_of(sfu, gateway.url))
    assert sfu.channels.by_uuid == {}


async def test_what_the_gateway_sees_to_be_wrong_is_logged_once_until_it_changes(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    agent = agent_of(sfu, gateway.url)
    said: list[Any] = [["forwarded_for_ignored"]] * 2
    said += [["forwarded_for_ignored", "clock_off"], [], ["clock_off", "a code of later"], None, 7, [{}]]
    for warnings in said:
        gateway.reply = {"nextPingMs": 10_000, "warnings": warnings}
        assert await agent.heartbeats.beat()
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    codes = [line.removeprefix("the gateway has seen ").partition(":")[0] for line in lines]
    assert codes == ["forwarded_for_ignored", "clock_off", "clock_off"]
    assert "PROXY=1" in lines[0]


@pytest.mark.parametrize(
    ("is_behind_proxy", "public_url", "warned"),
    [
        (True, "https://sfu1.example.com", []),
        (True, "", []),
        (False, "", ["PROXY"]),
        (False, "https://sfu1.example.com", ["public URL", "PROXY"]),
    ],
)
async def test_a_check_warns_of_an_sfu_without_proxy(
    gateway: FakeGateway, is_behind_proxy: bool, public_url: str, warned: list[str]
) -> None:
    config = SfuConfig(key=KEY, people=NO_PEOPLE, proxy=is_behind_proxy)
    lines: list[str] = []
    async with running_sfu(config) as (sfu, _):
        given = {"SFU_PUBLIC_URL": public_url} if public_url else {}
        for _ in range(2):
            lines.clear()
            assert await check(settings_of(sfu, gateway.url, **given), lines.append)
        assert len(sfu.channels.by_uuid) == 1
    warnings = [line for line in lines if line.startswith("warn")]
    assert [warning.partition("\n")[0].split(maxsplit=1)[1] for warning in warnings] == warned
    assert all("PROXY" in warning for warning in warnings)


async def test_a_check_says_everything_at_once_and_registers_nothing(
    sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    lines: list[str] = []
    assert await check(settings_of(sfu, gateway.url), lines.append)
    assert [line.partition("\n")[0] for line in lines] == [
        "ok    SFU",
        "ok    AUTH_KEY",
        "ok    clock",
        "ok    public URL",
        "ok    PROXY",
        "ok    gateway",
    ]
    assert gateway.heartbeats == []


async def test_a_check_that_fails_says_why(sfu: SimulatedSfu, gateway: FakeGateway) -> None:
    gateway.status, gateway.reply = 401, {"code": "credentials_expired", "clockDifferenceSeconds": -3600}
    lines: list[str] = []
    assert not await check(settings_of(sfu, gateway.url, AUTH_KEY=OTHER_TEXT), lines.append)
    assert [line.split()[:2] for line in lines] == [["ok", "SFU"], ["FAIL", "AUTH_KEY"], ["FAIL", "gateway"]]
    assert "is 3600 s behind the gateway's" in lines[-1]
    sfu.kill()
    lines.clear()
    assert not await check(settings_of(sfu, gateway.url), lines.append)
    assert lines[0].startswith("FAIL  SFU")


async def test_a_check_survives_an_sfu_whose_statistics_become_garbage(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    agent = agent_of(sfu, gateway.url)
    await agent.look()
    await sfu.set_fault(Garbage(route="/v1/stats"))
    with pytest.raises(ForwardError, match="not that of an SFU"):
        await agent.sfu.check_setup()


# A restart in place


async def test_an_sfu_that_was_started_again_is_another_instance_and_is_checked_again(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    agent = agent_of(sfu, gateway.url)
    call = sfu.channels.create("198.51.100.7", "call")
    call.sessions |= {1, 2}
    await beat_twice(agent)
    sfu.kill()
    await sfu.start()
    await beat_twice(agent)
    instances = [beat["instance"] for beat in gateway.heartbeats]
    assert instances[0] == instances[1] != instances[2] == instances[3]
    assert len(gateway.checked) == 2
    assert "the SFU was started again in place: the calls that it had are gone" in caplog.messages


async def test_an_sfu_whose_calls_end_one_by_one_is_the_same_instance(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    agent = agent_of(sfu, gateway.url)
    calls = [sfu.channels.create("198.51.100.7", f"call {number}") for number in range(3)]
    for call in calls:
        call.sessions.add(1)
    await agent.heartbeats.beat()
    for call in calls:
        call.sessions.clear()
        await agent.heartbeats.beat()
        del sfu.channels.by_uuid[call.uuid]
        await agent.heartbeats.beat()
    assert len({beat["instance"] for beat in gateway.heartbeats}) == 1


# An SFU that is gone


class Looks:
    """Pauses between looks that end when the test says so, one at a time."""

    def __init__(self) -> None:
        self._begun, self._ended = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def pause(self, seconds: float) -> None:
        """What the agent waits on."""
        assert seconds == WATCH_SECONDS
        self._begun.release()
        await self._ended.acquire()

    async def take(self, count: int = 1) -> None:
        """Let the agent look `count` times, and wait until it has."""
        for _ in range(count):
            self._ended.release()
            await self._begun.acquire()


@asynccontextmanager
async def watching(agent: Agent) -> AsyncIterator[Looks]:
    """Let an agent that has reported its SFU watch it."""
    await agent.heartbeats.beat()
    looks = Looks()
    agent._pause = looks.pause  # noqa: SLF001 - the pauses are what is played
    async with in_background(agent.watch()):
        await looks._begun.acquire()  # noqa: SLF001
        yield looks


async def test_an_sfu_whose_port_is_closed_is_reported_once_at_the_third_look(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    async with watching(agent_of(sfu, gateway.url)) as looks:
        await looks.take(5)
        sfu.kill()
        await looks.take(LOOKS_UNTIL_GONE - 1)
        assert gateway.statuses_of(sfu.address) == ["up"]
        await looks.take(5)
    assert gateway.statuses_of(sfu.address) == ["up", "down"]
    assert gateway.heartbeats[-1]["reason"] == "unreachable"
    HeartbeatBody.model_validate(gateway.heartbeats[-1], extra="forbid")


async def test_an_sfu_that_is_gone_is_reported_again_until_a_gateway_takes_it(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    async with watching(agent_of(sfu, gateway.url)) as looks:
        sfu.kill()
        gateway.status = 503
        await looks.take(LOOKS_UNTIL_GONE + 1)
        gateway.status = 200
        await looks.take(3)
    assert gateway.statuses_of(sfu.address) == ["up", "down", "down", "down"]


@pytest.mark.parametrize("fault", [Hang(), Status(status=500), Garbage()], ids=lambda fault: fault.fault)
async def test_an_sfu_that_answers_badly_or_not_at_all_is_not_gone(
    agent_of: AgentOf,
    sfu: SimulatedSfu,
    gateway: FakeGateway,
    fault: Fault,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.agent.sfu.TIMEOUT_SECONDS", 0.05)
    async with watching(agent_of(sfu, gateway.url)) as looks:
        await sfu.set_fault(fault)
        await looks.take(LOOKS_UNTIL_GONE + 1)
    assert gateway.statuses_of(sfu.address) == ["up"]


async def test_a_drain_does_not_wait_for_an_sfu_that_is_gone(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    clock = Clock(time.time())
    agent = agent_of(sfu, gateway.url, clock)
    sfu.channels.create("198.51.100.7", "call").sessions.add(1)
    await agent.heartbeats.beat()
    began = clock.now

    async def pause(seconds: float) -> None:
        clock.now += seconds
        sfu.kill()
        await asyncio.sleep(0)

    agent._pause = pause  # noqa: SLF001 - the pauses are what is played
    async with in_background(agent.watch()):
        await agent.drain(3_600)
    assert gateway.statuses_of(sfu.address)[-1] == "down"
    assert clock.now - began < 60


async def test_an_sfu_that_never_joined_is_not_reported_as_gone(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    sfu.kill()
    async with watching(agent_of(sfu, gateway.url)) as looks:
        await looks.take(LOOKS_UNTIL_GONE + 1)
    assert gateway.heartbeats == []


async def test_an_sfu_that_is_back_is_reported_at_once_and_reported_again_when_it_goes_again(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    agent = agent_of(sfu, gateway.url, SFU_GATEWAY_PING_INTERVAL="3600000")
    async with watching(agent) as looks:
        agent.heartbeats.start()
        await eventually(lambda: len(gateway.heartbeats) == 2)
        for times in (1, 2):
            sfu.kill()
            await looks.take(LOOKS_UNTIL_GONE)
            assert gateway.statuses_of(sfu.address).count("down") == times
            await sfu.start()
            await looks.take()
            await eventually(lambda: agent.heartbeats.taken_count == 2 + times)  # noqa: B023 - it is called here
        agent.heartbeats.halt()
    assert gateway.statuses_of(sfu.address) == ["up", "up", "down", "up", "down", "up"]


async def test_an_sfu_whose_process_has_ended_is_reported_at_once_when_it_is_back(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    agent = agent_of(sfu, gateway.url, SFU_GATEWAY_PING_INTERVAL="3600000")
    ended = False
    agent._watch.has_ended = lambda: ended  # type: ignore[method-assign]  # noqa: SLF001 - what the machine says
    async with watching(agent) as looks:
        agent.heartbeats.start()
        await eventually(lambda: agent.heartbeats.taken_count == 2)
        ended = True
        await looks.take()
        await eventually(lambda: agent.heartbeats.taken_count == 3)
        await looks.take(3)
        agent.heartbeats.halt()
    assert agent.heartbeats.taken_count == 3


# The first report


class PlayedMeter:
    """A meter with these CPU usages."""

    def __init__(self, *usages: float) -> None:
        self._usages = list(usages)

    def read(self) -> Usage:
        """The next one."""
        return Usage(self._usages.pop(0), 0.5)


@pytest.mark.parametrize(
    ("usages", "reported"),
    [([0.3], 0.3), ([1.0, 0.4], 0.4), ([1.0, 0.9, 1.0, 0.95, 1.0], 0.9), ([1.0] * FIRST_MEASURES, 1.0)],
)
async def test_the_first_report_is_not_that_of_a_machine_that_has_just_started(
    usages: list[float], reported: float
) -> None:
    meter: Any = PlayedMeter(*usages)
    assert (await first_usage(meter, no_pause)).cpu == reported


# Draining


async def test_an_agent_that_drains_says_so_until_the_last_session_has_left(
    agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway
) -> None:
    clock = Clock()
    clock.now = time.time()
    agent = agent_of(sfu, gateway.url, clock)
    call = sfu.channels.create("198.51.100.7", "call")
    call.sessions |= {1, 2}
    looks = 0

    async def leave_one_by_one(seconds: float) -> None:
        nonlocal looks
        looks += 1
        clock.now += seconds
        if call.sessions:
            call.sessions.pop()

    agent._pause = leave_one_by_one  # noqa: SLF001 - the pauses are what is played
    await agent.drain(60)
    assert looks <= 2 + FIRST_MEASURES
    assert not call.sessions
    assert gateway.heartbeats[-1]["draining"] is True


async def test_a_drain_ends_with_its_time(agent_of: AgentOf, sfu: SimulatedSfu, gateway: FakeGateway) -> None:
    clock = Clock()
    clock.now = time.time()
    agent = agent_of(sfu, gateway.url, clock)
    sfu.channels.create("198.51.100.7", "call").sessions.add(1)

    async def wait(seconds: float) -> None:
        clock.now += seconds

    agent._pause = wait  # noqa: SLF001 - as above
    before = clock.now
    await agent.drain(5)
    assert 5 <= clock.now - before < 7
