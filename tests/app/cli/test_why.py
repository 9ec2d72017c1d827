"""`why`: its text at two widths, its exit codes, and what it says of its own source."""

import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Final

import click
import pytest

from app.api.schemas import Diagnosis, Trouble
from app.cli.exits import Exit
from app.cli.why import exit_code, why_lines
from app.diagnosis import trouble as domain
from app.diagnosis.trouble import Cause, Subject

GOLDEN: Final = Path(__file__).parent / "golden"
LONG: Final = "https://sfu-1.a-rather-long-name-of-a-host.of-a-region.media.odoo.example.com:8070"
TROUBLES: Final = (
    domain.Trouble(
        "sfu_misconfigured",
        "error",
        "The SFU refuses requests that are signed with the key it has registered.",
        Subject("sfu", LONG, "eu-west"),
        f"sfu-gateway sfu show {LONG}",
        since_ms=74_000,
        calls=3,
        people=11,
        cause=Cause(
            "answered 401 to /v1/channel",
            4_000,
            4,
            "probably AUTH_KEY: the SFU's is not that of its heartbeats",
        ),
    ),
    domain.Trouble(
        "sweeper_missing",
        "error",
        "No sweeper runs: silent SFUs are not given up, ejected SFUs are not probed, no event is published.",
        Subject("sweeper"),
        "sfu-gateway doctor",
        cause=Cause(likely="no sfu-gateway sweep process runs, or none reaches Redis"),
    ),
    domain.Trouble(
        "headroom_low",
        "warning",
        "Region us-east has room for 1 more person (4% of what it takes).",
        Subject("region", "us-east", "us-east"),
        "sfu-gateway sfu list --region us-east",
        calls=1,
        people=1,
        cause=Cause("", None, 1),
    ),
)
SUMMARY: Final = "2 of 5 SFUs selectable, 41 calls, 163 people"


def diagnosis(*troubles: domain.Trouble, age_ms: int = 0) -> Diagnosis:
    """What is wrong."""
    return Diagnosis(
        ok=not troubles, summary=SUMMARY, ageMs=age_ms, troubles=[Trouble.of(each) for each in troubles]
    )


def text(found: Diagnosis, width: int, options: str = "") -> str:
    """It in lines, without colours."""
    return "".join(f"{click.unstyle(line)}\n" for line in why_lines(found, width, options))


@pytest.mark.parametrize("width", [80, 120])
def test_the_text_is_the_golden_one(width: int) -> None:
    golden = GOLDEN / f"why-{width}.txt"
    said = text(diagnosis(*TROUBLES, age_ms=12_000), width, " --gateway http://gateway:8071")
    assert said == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_but_what_is_copied_is_wider_than_the_terminal(width: int) -> None:
    wide = [line for line in text(diagnosis(*TROUBLES), width).splitlines() if len(line) > width]
    assert all(line.startswith("  Run: ") or line.strip() == LONG for line in wide)


def test_nothing_wrong_is_one_green_line() -> None:
    [line] = why_lines(diagnosis(), 80)
    assert click.unstyle(line) == f"Nothing is wrong: {SUMMARY}"
    assert line != click.unstyle(line)


def test_a_piped_line_has_no_colours() -> None:
    out = io.StringIO()
    with redirect_stdout(out):
        click.echo(next(iter(why_lines(diagnosis(), 80))))
    assert out.getvalue() == f"Nothing is wrong: {SUMMARY}\n"


@pytest.mark.parametrize(
    ("troubles", "code"),
    [((), Exit.OK), (TROUBLES[2:], Exit.DOCTOR_WARNING), (TROUBLES, Exit.DOCTOR_ERROR)],
    ids=["nothing", "a warning", "an error"],
)
def test_it_exits_by_severity(troubles: tuple[domain.Trouble, ...], code: Exit) -> None:
    assert exit_code(diagnosis(*troubles)) == code
