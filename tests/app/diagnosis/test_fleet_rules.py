"""What SFUs show, state by state."""

import re
from dataclasses import replace
from typing import Any, Final

import pytest

from app.diagnosis.facts import Bounds
from app.diagnosis.fleet_rules import examine_fleet
from app.diagnosis.trouble import Severity, Trouble, worst_first
from app.registry.sfus import SfuStatus
from app.settings.model import Settings
from app.states import STATES
from tests.support.sfus import SFU

NOW: Final = 1_800_000_000_000
BOUNDS: Final = Bounds.from_settings(Settings())
WELL: Final = replace(SFU, at=NOW, max_sessions=1000)
LOST_STATE: Final[dict[str, Any]] = {"tier": "", "down_at": NOW - 60_000}
KEY_REFUSED: Final = "answered 401 to /v1/channel"


def sfu(number: int = 1, **changes: Any) -> SfuStatus:
    """One SFU, well but for `changes`."""
    return replace(WELL, address=f"http://sfu{number}:8070", **changes)


def troubles(*sfus: SfuStatus) -> list[Trouble]:
    """What is wrong with them, beside one that is well."""
    return worst_first([*examine_fleet((sfu(99), *sfus), BOUNDS).troubles])


def codes(*sfus: SfuStatus) -> list[str]:
    """The codes of it."""
    return [each.code for each in troubles(*sfus)]


@pytest.mark.parametrize(
    ("changes", "code", "severity"),
    [
        ({"state": "ejected", "reason": "misconfigured", "tier": "ejected"}, "sfu_misconfigured", "error"),
        ({"state": "half-open", "reason": "misconfigured"}, "sfu_misconfigured", "error"),
        (
            {"state": "ejected", "reason": "failed", "tier": "ejected", "failures": 1},
            "sfu_ejected",
            "warning",
        ),
        ({"state": "ejected", "reason": "failed", "tier": "ejected", "failures": 5}, "sfu_ejected", "error"),
        ({"state": "half-open", "reason": "failed", "failures": 5}, "sfu_ejected", "warning"),
        ({"state": "lost", "reason": "expired"} | LOST_STATE, "sfu_lost", "error"),
        ({"state": "lost", "reason": "unreachable"} | LOST_STATE, "sfu_lost", "error"),
        ({"state": "expired", "tier": "", "heartbeat_age_ms": 40_000}, "sfu_silent", "error"),
        ({"state": "signed-off"} | LOST_STATE, "sfu_signed_off", "warning"),
        ({"state": "drained", "tier": "", "drain_until": NOW - 1}, "drain_overdue", "warning"),
        ({"state": "full", "reason": "sessions", "tier": "overloaded"}, "sfu_full", "warning"),
        ({"state": "overloaded", "reason": "cpu", "tier": "overloaded"}, "sfu_overloaded", "warning"),
        ({"errors": 1, "last_error": KEY_REFUSED}, "sfu_failing", "warning"),
        ({"errors": 7, "last_error": KEY_REFUSED}, "sfu_failing", "error"),
        ({"is_shared": True}, "address_shared", "error"),
        ({"heartbeat_age_ms": 26_000}, "sfu_late", "warning"),
        ({"setup": "forwarded_for_ignored"}, "sfu_setup", "warning"),
        ({"setup": "clock_off a_code_of_later"}, "sfu_setup", "warning"),
    ],
)
def test_an_sfu_in_trouble_has_a_code(changes: dict[str, Any], code: str, severity: Severity) -> None:
    [trouble] = troubles(sfu(**changes))
    assert (trouble.code, trouble.severity) == (code, severity)
    assert (trouble.subject.kind, trouble.subject.name, trouble.subject.region) == (
        "sfu", "http://sfu1:8070", "eu-west",
    )  # fmt: skip
    assert (trouble.calls, trouble.people) == (8, 40)
    assert trouble.runbook == f"docs/runbooks.md#{code}"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"state": "signed-off", "sessions": 0} | LOST_STATE,
        {"state": "draining", "reason": "operator", "tier": ""},
        {"state": "draining", "tier": "", "drain_until": NOW + 1},
        {"state": "drained", "tier": "", "drain_until": NOW - 1, "sessions": 0},
        {"heartbeat_age_ms": 24_000},
    ],
)
def test_an_sfu_that_does_what_it_was_told_is_no_trouble(changes: dict[str, Any]) -> None:
    assert codes(sfu(**changes)) == []


def test_every_state_has_been_thought_of() -> None:
    quiet = {state for state in STATES if not codes(sfu(state=state, tier="", sessions=0))}
    assert quiet == {"selectable", "draining", "drained", "signed-off"}


def test_a_refused_key_is_named_as_the_probable_cause() -> None:
    [trouble] = troubles(
        sfu(
            state="ejected", reason="misconfigured", tier="ejected", ejected_since=NOW - 74_000,
            errors=4, last_error=KEY_REFUSED, last_error_at=NOW - 4_000,
        )
    )  # fmt: skip
    assert trouble.since_ms == 74_000
    cause = trouble.cause
    assert (cause.last_error, cause.count, cause.ago_ms) == (KEY_REFUSED, 4, 4_000)
    assert cause.likely.startswith("probably AUTH_KEY")


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("cpu", "CPU 97% is above 95% (overload.max_cpu)"),
        ("memory", "memory 98% is above 95% (overload.max_memory)"),
        ("load", "load 0.93 is above 0.9 (overload.max_load)"),
    ],
)
def test_an_overloaded_sfu_names_the_figure_and_its_limit(reason: str, says: str) -> None:
    busy = sfu(state="overloaded", reason=reason, tier="overloaded", cpu=0.97, memory=0.98, load=0.93)
    [trouble] = troubles(busy)
    assert says in trouble.what


@pytest.mark.parametrize("state", ["ejected", "overloaded"])
def test_an_sfu_seen_last_before_redis_went_away_is_told_without_figures(state: Any) -> None:
    [trouble] = troubles(sfu(state=state, tier="ejected", channels=0, at=0))
    assert not re.search(r"\d", trouble.what)


def test_the_summary_leaves_out_calls_that_are_not_known() -> None:
    assert examine_fleet((sfu(channels=0),), BOUNDS).summary == "1 of 1 SFU selectable, 40 people"


def test_many_sfus_of_a_region_with_the_same_trouble_are_one_line() -> None:
    lost = [
        sfu(number, state="lost", reason="expired", tier="", down_at=NOW - number * 1000, errors=1)
        for number in range(1, 8)
    ]
    [trouble] = troubles(*lost)
    assert (trouble.code, trouble.subject.kind, trouble.subject.name) == ("sfu_lost", "region", "eu-west")
    assert trouble.what.startswith("7 SFUs")
    assert (trouble.calls, trouble.people, trouble.since_ms, trouble.cause.count) == (56, 280, 7_000, 7)
    assert len(troubles(*lost[:5])) == 5


def test_a_region_without_a_selectable_sfu_is_said_once_beside_its_sfus() -> None:
    full = sfu(1, region="us-east", state="full", reason="sessions", tier="overloaded")
    assert codes(full) == ["region_empty", "sfu_full"]


def test_a_region_that_was_given_up_is_no_trouble() -> None:
    gone = sfu(1, region="us-east", state="signed-off", sessions=0, tier="", down_at=NOW - 1)
    assert codes(gone) == []


def test_a_region_with_little_room_says_how_much() -> None:
    [trouble] = troubles(
        sfu(1, region="us-east", sessions=950, load=0.2), sfu(2, region="us-east", sessions=900, load=0.2)
    )
    assert (trouble.code, trouble.subject.name) == ("headroom_low", "us-east")
    assert "150 more people (8% of what it takes)" in trouble.what


def test_a_fleet_without_a_selectable_sfu_counts_their_states() -> None:
    draining = sfu(1, state="draining", reason="operator", tier="")
    gone = sfu(2, state="signed-off", sessions=0, tier="")
    [trouble] = examine_fleet((draining, gone), BOUNDS).troubles
    assert (trouble.code, trouble.cause.likely) == ("nothing_selectable", "SFUs: 1 draining")


@pytest.mark.parametrize("sfus", [(), (sfu(state="signed-off", sessions=0, tier=""),)])
def test_an_empty_fleet_is_an_error(sfus: tuple[SfuStatus, ...]) -> None:
    assert [each.code for each in examine_fleet(sfus, BOUNDS).troubles] == ["fleet_empty"]


def test_the_summary_counts_the_living() -> None:
    report = examine_fleet((sfu(1), sfu(2, state="lost", reason="expired", **LOST_STATE)), BOUNDS)
    assert report.summary == "1 of 1 SFU selectable, 8 calls, 40 people"
