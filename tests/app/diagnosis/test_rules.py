"""What is wrong beside the SFUs: Redis, its sweeper, this replica, clocks."""

from collections import Counter
from dataclasses import replace
from typing import Any, Final

import pytest

from app.diagnosis.facts import Bounds, Facts, FleetReport, ReplicaFacts
from app.diagnosis.fleet_rules import examine_fleet
from app.diagnosis.rules import diagnose
from app.diagnosis.trouble import CODES, Cause, Subject, Trouble, worst_first
from app.registry.examination import Finding, Severity
from app.registry.signs import Signs
from app.registry.trouble import Trouble as RedisTrouble
from app.settings.model import Settings
from tests.support.sfus import SFU

NOW: Final = 1_800_000_000_000
BOUNDS: Final = Bounds.from_settings(Settings())
FLEET: Final = FleetReport(living=2, selectable=2, calls=3, people=11)
SIGNS: Final = Signs(at=NOW, is_swept=True)
FACTS: Final = Facts(BOUNDS, FLEET, SIGNS)
REPLICA: Final = ReplicaFacts("gateway-1")
AWAY: Final = RedisTrouble("refused", False, "the connection was refused", "check that it runs")
REFUSES: Final = RedisTrouble("wrongpass", True, "wrong password", "set the password")


def codes(facts: Facts) -> list[str]:
    """The codes of what is wrong."""
    return [trouble.code for trouble in diagnose(facts)]


def test_nothing_is_wrong_with_a_fleet_that_is_swept_read_and_published() -> None:
    assert diagnose(replace(FACTS, replica=REPLICA)) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"is_swept": False}, ["sweeper_missing"]),
        ({"is_swept": False, "unpublished_since": NOW - 60_000}, ["sweeper_missing"]),
        ({"unpublished_since": NOW - 31_000}, ["sweeper_behind"]),
        ({"unpublished_since": NOW - 1_000}, []),
        ({"is_read": False}, ["replica_missing"]),
        ({"expiry_suspended_until": NOW + 20_000}, ["mass_expiry"]),
        ({"expiry_suspended_until": NOW - 1}, []),
        ({"rescue_failed": 3, "rescue_failed_at": NOW - 60_000}, ["rescue_failing"]),
        ({"rescue_failed": 3, "rescue_failed_at": NOW - 3_600_000}, []),
    ],
)
def test_signs_of_redis_have_codes(changes: dict[str, Any], expected: list[str]) -> None:
    assert codes(replace(FACTS, signs=replace(SIGNS, **changes))) == expected


def test_a_replica_that_answers_is_not_missing() -> None:
    assert codes(replace(FACTS, signs=replace(SIGNS, is_read=False), replica=REPLICA)) == []


def test_a_mass_expiry_says_since_when_and_who_is_affected() -> None:
    [trouble] = diagnose(replace(FACTS, signs=replace(SIGNS, expiry_suspended_until=NOW + 20_000)))
    assert (trouble.since_ms, trouble.calls, trouble.people) == (10_000, 3, 11)


@pytest.mark.parametrize(
    ("redis", "code"), [(AWAY, "redis_away"), (REFUSES, "redis_refuses")], ids=["away", "refuses"]
)
def test_a_redis_that_does_not_serve_is_told_as_doctor_tells_it(redis: RedisTrouble, code: str) -> None:
    away = ReplicaFacts("gateway-1", mode="unavailable", mode_for_ms=5_000, snapshot_size=2)
    [trouble] = diagnose(Facts(BOUNDS, FLEET, redis=redis, replica=away))
    assert (trouble.code, trouble.severity, trouble.since_ms) == (code, "error", 5_000)
    assert trouble.what == f"{redis}. This replica places calls on the 2 SFUs that it saw last."
    assert (trouble.cause.last_error, trouble.cause.likely) == (redis.code, redis.fix)


def test_a_replica_that_has_never_seen_the_fleet_says_that_it_refuses() -> None:
    [trouble] = diagnose(Facts(BOUNDS, redis=AWAY, replica=ReplicaFacts("gateway-1", mode="unavailable")))
    assert "has not seen the fleet and refuses every call" in trouble.what


def test_a_replica_that_returns_is_a_warning() -> None:
    returning = replace(REPLICA, mode="recovering", mode_for_ms=3_000)
    [trouble] = diagnose(replace(FACTS, replica=returning))
    assert (trouble.code, trouble.severity, trouble.subject.name) == (
        "replica_recovering", "warning", "gateway-1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ({"created": 99, "all_failed": 2}, ["channels_refused"]),
        ({"created": 200, "all_failed": 1}, []),
        ({"created": 1, "credentials_invalid": 50, "tenant_limit": 3}, []),
        ({}, []),
    ],
)
def test_requests_that_fail_by_the_gateways_fault_are_an_error(
    outcomes: dict[str, int], expected: list[str]
) -> None:
    assert codes(replace(FACTS, replica=replace(REPLICA, outcomes=Counter(outcomes)))) == expected


def test_refused_requests_name_the_most_frequent_code() -> None:
    outcomes = Counter({"created": 5, "deadline": 1, "all_failed": 4})
    [trouble] = diagnose(replace(FACTS, replica=replace(REPLICA, outcomes=outcomes)))
    assert (trouble.cause.last_error, trouble.cause.count) == ("all_failed", 5)
    assert "served 5 of 10 channel requests" in trouble.what


def test_refused_heartbeats_name_the_most_frequent_code() -> None:
    refused = Counter({"credentials_invalid": 4, "invalid_field": 1})
    [trouble] = diagnose(replace(FACTS, replica=replace(REPLICA, refused_heartbeats=refused)))
    assert (trouble.code, trouble.severity) == ("heartbeats_refused", "warning")
    assert (trouble.cause.last_error, trouble.cause.count) == ("credentials_invalid", 5)
    assert "registration.key" in trouble.cause.likely


@pytest.mark.parametrize(
    ("finding", "code", "severity"),
    [
        (Finding("memory", Severity.ERROR, "99 MiB used of 100", "raise maxmemory"), "redis_unfit", "error"),
        (Finding("clock skew", Severity.WARNING, "5 s ahead", "run NTP"), "clock_differs", "warning"),
    ],
)
def test_what_the_doctor_finds_is_told(finding: Finding, code: str, severity: str) -> None:
    [trouble] = diagnose(replace(FACTS, findings=(finding,)))
    assert (trouble.code, trouble.severity, trouble.cause.likely) == (code, severity, finding.fix)
    assert finding.found in trouble.what


def test_the_worst_is_first() -> None:
    lost = replace(SFU, address="http://lost", state="lost", tier="", at=NOW, down_at=NOW - 1)
    late = replace(SFU, at=NOW, heartbeat_age_ms=26_000, max_sessions=1000)
    fleet = examine_fleet((lost, late), BOUNDS)
    signs = replace(SIGNS, is_swept=False)
    assert codes(Facts(BOUNDS, fleet, signs)) == ["sfu_lost", "sweeper_missing", "sfu_late"]


def test_of_the_same_trouble_the_one_with_more_people_is_first() -> None:
    few, many = (
        Trouble("sfu_lost", "error", "", Subject("sfu", str(people)), "", people=people, cause=Cause())
        for people in (1, 9)
    )
    assert worst_first([few, many]) == [many, few]


def test_codes_are_named_once() -> None:
    assert len(set(CODES)) == len(CODES)
