"""What people read at a terminal: it fits, and shows what matters first; elsewhere it is whole."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from app.api.schemas import ExplainedSfu, Sfu, Terms
from app.cli.tables import Column, candidate_table, event_line, sfu_table, shortened, table, totals
from app.events.event import Event

ROOT = Path(__file__).parents[3]
LONG = "https://sfu-frankfurt-0001.production.eu-central-1.media.example-company.com:8443"
OTHER = "https://sfu-frankfurt-0002.production.eu-central-1.media.example-company.com:8443"


def sfu(**changes: object) -> Sfu:
    """An SFU as `/v1/health` lists it."""
    base = {
        "address": "http://sfu1:8070", "region": "eu-west", "status": "up", "breaker": "closed", "load": 0.1,
        "channels": 2, "sessions": 10, "maxSessions": 1000, "reserved": 0, "cpuUsage": 0, "memoryUsage": 0,
        "heartbeatAgeMs": 10, "state": "selectable",
    }  # fmt: skip
    return Sfu.model_validate(base | changes)


FLEET = [
    sfu(address=LONG, load=0.2255, sessions=45, channels=12, cpuUsage=0.35, memoryUsage=0.48, reserved=4.0),
    sfu(
        address=OTHER, status="misconfigured", state="ejected", reason="misconfigured", breaker="open", errors=7,
        lastError="answered 403 to /v1/channel", heartbeatAgeMs=1_900,
    ),
    sfu(region="us-east", state="overloaded", reason="cpu", cpuUsage=0.97, load=0.91, sessions=1000),
    sfu(address="http://10.0.0.7:8070", status="down", state="lost", reason="expired", heartbeatAgeMs=61_000),
]  # fmt: skip


def golden(name: str) -> list[str]:
    """The lines of a file beside this one."""
    return (Path(__file__).parent / "golden" / f"{name}.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_a_fleet_with_long_addresses_fits_the_terminal(width: int) -> None:
    assert sfu_table(FLEET, width) == golden(f"fleet_{width}")


def test_a_fleet_in_a_pipe_is_whole() -> None:
    head, first, second, *_ = sfu_table(FLEET)
    assert head.split("  ")[0] == "STATE"
    assert all(column in head for column in ("CPU", "MEMORY", "RESERVED", "HEARTBEAT", "LAST ERROR"))
    assert LONG in first
    assert second.endswith(f"{OTHER}  7 x answered 403 to /v1/channel")


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 240])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    assert max(map(len, sfu_table(FLEET, width))) <= width
    assert max(map(len, candidate_table(CANDIDATES, width))) <= width


CANDIDATES = [
    ExplainedSfu(
        address=address, region="eu-central-1", verdict=verdict, score=0.2324, sessions=45, reserved=4.0,
        maxSessions=1000, group=1, terms=Terms(sessions=0.0245, cpu=0.105, memory=0.096, promised=0.0069),
    )
    for address, verdict in ((LONG, "chosen"), (OTHER, "region-not-allowed"))
]  # fmt: skip


@pytest.mark.parametrize("width", [80, 120])
def test_an_explanation_fits_the_terminal(width: int) -> None:
    assert candidate_table(CANDIDATES, width) == golden(f"explanation_{width}")


def test_an_event_fits_80_columns_and_is_whole_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    event = Event(
        id="1-0",
        type="down",
        address=LONG,
        region="eu-west",
        state="lost",
        reason="expired",
        generation=1,
        at=0,
    )
    assert len(event_line(event, 80)) == 80
    assert "…" in event_line(event, 80)
    assert LONG in event_line(event)


def test_an_address_keeps_both_ends() -> None:
    assert shortened(LONG, 28) == "sfu-frankfurt-0001….com:8443"
    assert shortened(LONG, 75) == LONG.removeprefix("https://")
    assert shortened("http://sfu1:8070", 21) == "http://sfu1:8070"


def test_a_long_text_goes_on_in_the_next_line() -> None:
    columns = (Column("CHECK"), Column("FOUND", fit="wrap"))
    assert table(columns, [("redis", "it does not answer at all")], 24) == [
        "CHECK  FOUND",
        "redis  it does not",
        "       answer at all",
    ]


def test_what_an_sfu_says_never_steers_the_terminal() -> None:
    lines = sfu_table([sfu(errors=1, lastError="\x1b[2J gone \x07")])
    assert lines[1].endswith("1 x  [2J gone")


def test_totals_count_the_living() -> None:
    ejected = sfu(status="down", state="ejected", reason="failed")
    lost = sfu(status="down", state="lost", sessions=99)
    of_an_older_gateway = sfu(status="down", state="", sessions=99)
    fleet = [sfu(), sfu(status="draining"), ejected, lost, of_an_older_gateway]
    assert totals(fleet) == "3 of 5 SFUs alive, 1 draining, 1 ejected, 6 channels, 30 sessions"


_SHOW = """
from app.cli.tables import put, sfu_table, terminal_width
from tests.app.cli.test_tables import FLEET
put(sfu_table(FLEET, terminal_width()))
"""


def on_a_terminal(columns: int, **environment: str) -> list[str]:
    """What a terminal of that width gets, line by line."""
    ours, theirs = pty.openpty()
    variables = {"PATH": os.environ["PATH"], "COLUMNS": str(columns), "PYTHONPATH": str(ROOT)} | environment
    with subprocess.Popen([sys.executable, "-c", _SHOW], stdout=theirs, env=variables) as child:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
        assert child.wait() == 0
    os.close(ours)
    return shown.decode().splitlines()


@pytest.mark.parametrize("columns", [80, 120])
def test_a_real_terminal_gets_its_width_and_colours(columns: int) -> None:
    assert on_a_terminal(columns, NO_COLOR="1") == sfu_table(FLEET, columns)
    assert "\x1b[31m" in on_a_terminal(columns)[2]
