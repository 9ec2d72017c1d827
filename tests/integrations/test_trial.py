"""What `integrations/odoo/try-it` reads and prints. The trial itself was run against Odoo: docs/rescue.md."""

import time
from typing import Any, cast

import pytest

from trial.__main__ import Killed, _kill, notices_since, parse, report_lines
from trial.odoo import Member, Notice, StoredSfu

KILLED = Killed(StoredSfu("old-uuid", "http://127.0.0.1:1"), at=100.0)
REQUIRED = ["--odoo", "http://127.0.0.1:8069", "--database", "odoo"]


def member(name: str, *notices: Notice) -> Member:
    """Someone who was told this."""
    return Member(name, cast("Any", None), list(notices))


def test_notices_before_the_kill_do_not_count() -> None:
    late = Notice(101.0, "http://127.0.0.1:2")
    assert notices_since(member("Ann", Notice(99.0, "http://127.0.0.1:1"), late), KILLED) == [late]


async def test_what_is_told_while_the_command_that_kills_runs_counts() -> None:
    before = time.monotonic()
    killed = await _kill(parse([*REQUIRED, "--kill", "sleep 0.2"]), None, KILLED.sfu)
    assert killed.at - before < time.monotonic() - killed.at


def test_report_says_when_and_where_to() -> None:
    moved = member("Ann", Notice(101.25, "http://127.0.0.1:2"))
    assert report_lines([moved], KILLED) == ["  1.25 s  Ann was sent to http://127.0.0.1:2"]


def test_report_names_peer_to_peer() -> None:
    assert report_lines([member("Ann", Notice(101.0, ""))], KILLED) == [
        "  1.00 s  Ann was sent to peer-to-peer"
    ]


def test_report_names_who_was_told_nothing() -> None:
    [line] = report_lines([member("Ann")], KILLED)
    assert line.strip() == "never  Ann was told nothing and retries http://127.0.0.1:1"


def test_trial_waits_for_the_gateway_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ODOO_PASSWORD", raising=False)
    options = parse(REQUIRED)
    assert options.send_rescue is None
    assert options.sfus == 2


def test_secrets_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODOO_PASSWORD", "secret")
    monkeypatch.setenv("SFU_GATEWAY_REGISTRATION__KEY", "a2V5")
    options = parse(REQUIRED)
    assert (options.password, options.registration_key) == ("secret", "a2V5")
