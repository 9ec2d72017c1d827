"""The SFU's process: another agent of it sees the same one, and a restart in place is another one."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.upstream.stats import ChannelStats
from tests.support.ports import HOST, free_port
from tests.support.processes import Process, answers
from tests.support.simulated import KEY
from workers.agent.settings import AgentSettings
from workers.agent.sfu import ProcessWatch, listening_process

CALL = ChannelStats("7c0e", 3)
EMPTY = ChannelStats("11aa", 0)


def settings_of(url: str) -> AgentSettings:
    given = {
        "SFU_GATEWAY_URL": "http://gateway:8071",
        "AUTH_KEY": KEY.to_base64(),
        "SFU_ADDRESS": url,
    }
    return AgentSettings.model_validate(given)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Process, AgentSettings]]:
    """A process that listens on a port, as an SFU does."""
    port = free_port()
    process = Process(
        [sys.executable, "-m", "http.server", str(port), "--bind", HOST],
        log=tmp_path / "server.log",
        cwd=tmp_path,
        ready=answers(f"http://{HOST}:{port}/"),
    )
    with process:
        yield process, settings_of(f"http://{HOST}:{port}")


def test_who_listens_on_the_port_of_the_sfu_is_found(server: tuple[Process, AgentSettings]) -> None:
    process, settings = server
    found = listening_process(settings)
    assert found is not None
    assert found.pid == process.pid


@pytest.mark.parametrize("url", ["http://192.0.2.1:8070", "http://sfu1.test:8070", f"http://{HOST}:9"])
def test_a_process_of_another_machine_or_none_is_not_found(url: str) -> None:
    assert listening_process(settings_of(url)) is None


def test_another_agent_of_the_same_process_names_the_same_instance(
    server: tuple[Process, AgentSettings],
) -> None:
    _, settings = server
    first, second = ProcessWatch(settings), ProcessWatch(settings)
    assert not first.look(())
    assert not second.look(())
    assert first.instance == second.instance


def test_a_process_that_was_started_again_is_another_instance(server: tuple[Process, AgentSettings]) -> None:
    process, settings = server
    watch = ProcessWatch(settings)
    watch.look((CALL,))
    before = watch.instance
    process.kill()
    assert not watch.look((CALL,))  # away is not yet another one
    process.start()
    assert watch.look((CALL,))
    assert watch.instance != before
    assert not watch.look((CALL,))


@pytest.mark.parametrize(
    ("before", "now", "is_another"),
    [
        ((CALL,), (), True),
        ((CALL, EMPTY), (ChannelStats("new", 1),), True),
        ((CALL, EMPTY), (EMPTY,), False),
        ((EMPTY,), (), False),
        ((), (CALL,), False),
        ((CALL,), (ChannelStats("7c0e", 0),), False),
    ],
)
def test_without_a_process_in_sight_vanished_channels_tell(
    before: tuple[ChannelStats, ...], now: tuple[ChannelStats, ...], is_another: bool
) -> None:
    watch = ProcessWatch(settings_of("http://192.0.2.1:8070"))
    watch.look(before)
    instance = watch.instance
    assert watch.look(now) == is_another
    assert (watch.instance != instance) == is_another
