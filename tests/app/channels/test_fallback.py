"""Placing channels from the snapshot: all replicas alike, by capacity, within limits."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from app.channels.call_memory import CallMemory
from app.channels.fallback import SnapshotPlacer
from app.errors import NoSfuAvailable, Overloaded
from app.registry.placements import ConfirmedPlacement, ForwardOutcome, Outcome, PlacementRequest
from app.registry.sfus import SfuStatus
from app.registry.snapshot import Snapshot
from tests.support.calls import call_id, placed_at
from tests.support.sfus import SFU
from tests.support.simulated import Clock

ISSUERS = [f"https://odoo.example:channel:{number}" for number in range(2_000)]


def node(name: str, region: str = "eu", **figures: Any) -> SfuStatus:
    """An SFU, by default an idle one that holds a million sessions."""
    idle: dict[str, Any] = {"load": 0.0, "sessions": 0, "max_sessions": 1_000_000, "sealed_key": "sealed"}
    return replace(SFU, address=f"http://{name}", region=region, **idle | figures)


def placement_on(*nodes: SfuStatus, clock: Clock | None = None) -> SnapshotPlacer:
    """A replica that last saw these SFUs, where each channel brings four people."""
    snapshot = Snapshot(nodes, sessions_per_channel=4)
    return SnapshotPlacer(lambda: snapshot, clock or Clock())


def select(local: SnapshotPlacer, issuer: str = "issuer", **request: Any) -> str:
    """Place one issuer; the host of its SFU."""
    call = call_id(issuer, tenant=request.pop("tenant", "default"))
    asked = PlacementRequest(f"request of {issuer}", call, **request)
    return local.select(asked).address.removeprefix("http://")


def report(local: SnapshotPlacer, outcome: Outcome, name: str, issuer: str = "issuer", **how: Any) -> None:
    """Say how forwarding to an SFU ended that was chosen here."""
    placement = placed_at(f"http://{name}", is_local=how.pop("is_local", True))
    rest = {"uuid": "uuid"} | how
    local.record_outcome(ForwardOutcome(f"request of {issuer}", call_id(issuer), placement, outcome, **rest))


def fleet(count: int) -> list[SfuStatus]:
    return [node(f"sfu{number}", load=0.1) for number in range(count)]


# Which one


def test_an_issuer_gets_the_same_sfu_again() -> None:
    local = placement_on(*fleet(10))
    assert len({select(local) for _ in range(20)}) == 1


def test_replicas_agree_whose_snapshots_differ_in_order_and_a_little_in_load() -> None:
    nodes = fleet(10)
    later = [replace(node, load=node.load + 0.05, sessions=node.sessions + 3) for node in reversed(nodes)]
    one, other = placement_on(*nodes), placement_on(*later)
    assert [select(one, issuer) for issuer in ISSUERS] == [select(other, issuer) for issuer in ISSUERS]


def test_a_replica_that_misses_an_sfu_differs_in_that_ones_issuers_only() -> None:
    nodes = fleet(10)
    whole, partial = placement_on(*nodes), placement_on(*nodes[1:])
    pairs = [(select(whole, issuer), select(partial, issuer)) for issuer in ISSUERS]
    assert {one for one, other in pairs if one != other} == {"sfu0"}


def test_tenants_do_not_share_issuers() -> None:
    local = placement_on(*fleet(10))
    assert len({select(local, tenant=f"tenant {number}") for number in range(50)}) > 1


@pytest.mark.parametrize(
    ("first", "second", "share"),
    [
        (node("big", max_sessions=300_000), node("small", max_sessions=100_000), 3 / 4),
        (node("free", load=0.1), node("half", load=0.6), 2 / 3),
        (node("free", load=0.0), node("busy", load=5.0), 4 / 5),
    ],
)
def test_channels_are_spread_by_free_capacity(first: SfuStatus, second: SfuStatus, share: float) -> None:
    local = placement_on(first, second)
    count = Counter(select(local, issuer) for issuer in ISSUERS)
    assert count[first.address.removeprefix("http://")] / len(ISSUERS) == pytest.approx(share, abs=0.04)


def test_what_was_tried_is_not_tried_again() -> None:
    local = placement_on(*fleet(3))
    tried: list[str] = []
    for _ in range(3):
        tried.append(select(local, exclude=tuple(f"http://{name}" for name in tried)))
    assert sorted(tried) == ["sfu0", "sfu1", "sfu2"]
    with pytest.raises(NoSfuAvailable):
        select(local, exclude=tuple(f"http://{name}" for name in tried))


# Regions


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([["eu"], ["*"]], "eu"),
        ([["nowhere"], ["us"], ["*"]], "us"),
        ([["nowhere", "us"]], "us"),
    ],
)
def test_the_first_region_group_with_an_sfu_wins(groups: Sequence[Sequence[str]], expected: str) -> None:
    local = placement_on(node("eu", "eu"), node("us", "us"))
    assert {select(local, issuer, groups=groups) for issuer in ISSUERS[:50]} == {expected}


def test_a_second_choice_is_called_a_fallback() -> None:
    local = placement_on(node("eu", "eu"))
    request = PlacementRequest("id", call_id(), groups=(("us",), ("*",)))
    assert local.select(request).reason == "fallback"
    assert local.select(replace(request, groups=(("eu",),))).reason == "least-load"


def test_a_region_that_is_not_allowed_gets_nothing() -> None:
    local = placement_on(node("eu", "eu"), node("us", "us"))
    assert {select(local, issuer, allow=("us",)) for issuer in ISSUERS[:50]} == {"us"}
    with pytest.raises(NoSfuAvailable):
        select(local, allow=("ap",))


def test_nowhere_to_go_is_said() -> None:
    with pytest.raises(NoSfuAvailable):
        select(placement_on())
    with pytest.raises(NoSfuAvailable):
        select(placement_on(node("eu", "eu")), groups=(("us",),))


# Load that only this replica knows


def test_an_sfu_that_is_full_by_what_was_placed_here_gets_no_more() -> None:
    local = placement_on(node("small", max_sessions=12), node("large"))
    placed = Counter(select(local, issuer) for issuer in ISSUERS)
    assert placed["small"] <= 3
    only = placement_on(node("small", max_sessions=12))
    for issuer in ISSUERS[:3]:
        select(only, issuer)
    with pytest.raises(Overloaded):
        select(only, "one more")


def test_a_channel_that_was_not_created_leaves_its_room_to_others() -> None:
    local = placement_on(node("small", max_sessions=4))
    select(local)
    report(local, "unblamed", "small")
    assert select(local, "another") == "small"


def test_the_same_channel_again_takes_no_more_room() -> None:
    local = placement_on(node("small", max_sessions=8))
    for _ in range(5):
        select(local)
        report(local, "created", "small")
    assert select(local, "another") == "small"


def test_a_report_of_what_the_registry_placed_makes_no_room() -> None:
    local = placement_on(node("small", max_sessions=4))
    select(local)
    report(local, "unblamed", "small", is_local=False)
    with pytest.raises(Overloaded):
        select(local, "another")


# Failures


@pytest.mark.parametrize("outcome", ["failed", "misconfigured"])
def test_an_sfu_that_failed_gets_no_new_call_for_ten_seconds(outcome: Outcome) -> None:
    clock = Clock()
    local = placement_on(*fleet(2), clock=clock)
    before = [select(local, issuer) for issuer in ISSUERS[:50]]
    report(local, outcome, "sfu0", "another issuer")
    clock.now += 9.9
    assert {select(local, issuer) for issuer in ISSUERS[:50]} == {"sfu1"}
    clock.now += 0.1
    assert [select(local, issuer) for issuer in ISSUERS[:50]] == before


def test_an_sfu_that_failed_is_asked_when_no_other_is_left() -> None:
    local = placement_on(*fleet(2))
    report(local, "failed", "sfu0")
    assert select(local, exclude=("http://sfu1",)) == "sfu0"
    with pytest.raises(NoSfuAvailable):
        select(local, exclude=("http://sfu0", "http://sfu1"))


def test_an_ejected_sfu_is_asked_before_a_call_is_refused_because_all_others_are_full() -> None:
    full = node("a", sessions=1_000_000)
    local = placement_on(full, node("b", eligibility="last-resort"))
    placement = local.select(PlacementRequest("request", call_id()))
    assert (placement.address, placement.reason) == ("http://b", "last-resort")
    with pytest.raises(Overloaded):
        placement_on(full).select(PlacementRequest("request", call_id()))


def test_a_call_on_an_ejected_sfu_stays_there_when_no_other_is_left() -> None:
    nodes = [node(f"sfu{number}", eligibility="last-resort") for number in range(10)]
    local = placement_on(*nodes)
    at = local.memory.now_ms
    for number in range(10):
        local.memory.remember(
            ConfirmedPlacement(call_id(f"{number}"), f"http://sfu{number}", "uuid", at, caller="192.0.2.1")
        )
    placed = [local.select(PlacementRequest("request", call_id(f"{number}"))) for number in range(10)]
    assert [each.address for each in placed] == [each.address for each in nodes]
    assert {(each.reason, each.caller) for each in placed} == {("last-resort", "192.0.2.1")}


def test_an_sfu_that_the_registry_had_ejected_is_the_last_resort_too() -> None:
    local = placement_on(node("ejected", eligibility="last-resort"), node("well"))
    assert {select(local, issuer) for issuer in ISSUERS[:50]} == {"well"}
    assert select(local, exclude=("http://well",)) == "ejected"


# Known calls (S4)


def known(local: SnapshotPlacer, name: str, issuer: str = "issuer", **call: Any) -> None:
    """Let the replica know where a call is."""
    about: dict[str, Any] = {"confirmed_at": local.memory.now_ms} | call
    local.memory.remember(ConfirmedPlacement(call_id(issuer), f"http://{name}", "uuid", **about))


def elsewhere(local: SnapshotPlacer, issuer: str = "issuer") -> str:
    """An SFU that is not the one that the issuer's hash says."""
    return "sfu1" if select(local, issuer) == "sfu0" else "sfu0"


def test_a_known_call_stays_where_it_is() -> None:
    local = placement_on(*fleet(10))
    place = elsewhere(local)
    known(local, place)
    placement = local.select(PlacementRequest("id", call_id()))
    assert (placement.address, placement.reason, placement.uuid) == (f"http://{place}", "sticky", "uuid")
    assert placement.is_local


@pytest.mark.parametrize("figures", [{"eligibility": "sticky-only"}, {"sessions": 1_000_000}])
def test_a_full_or_draining_sfu_keeps_its_calls_and_gets_no_others(figures: dict[str, Any]) -> None:
    local = placement_on(node("busy", **figures), node("free"))
    known(local, "busy")
    assert select(local) == "busy"
    assert {select(local, issuer) for issuer in ISSUERS[:50]} == {"free"}


@pytest.mark.parametrize("figures", [{"eligibility": "last-resort"}, {"generation": 8}])
def test_a_call_does_not_follow_into_a_failed_sfu_or_another_registration(figures: dict[str, Any]) -> None:
    local = placement_on(node("a", **{"eligibility": "sticky-only", **figures}), node("b"))
    known(local, "a", generation=7)
    assert select(local) == "b"


def test_a_known_call_moves_when_it_must() -> None:
    local = placement_on(node("eu", "eu"), node("us", "us"))
    known(local, "eu")
    assert select(local, allow=("us",)) == "us"
    assert select(local, exclude=("http://eu",)) == "us"
    report(local, "failed", "eu", "another")
    assert select(local) == "us"
    known(local, "gone")
    assert select(local) == "us"


def test_a_call_that_was_confirmed_too_long_ago_is_not_known() -> None:
    clock = Clock()
    snapshot = Snapshot(tuple(fleet(10)), sessions_per_channel=4)
    local = SnapshotPlacer(
        lambda: snapshot, clock, CallMemory(lambda: round(clock.now * 1000), ttl_ms=60_000)
    )
    hashed, place = select(local), elsewhere(local)
    known(local, place)
    clock.now += 59.9
    assert select(local) == place
    clock.now += 0.2
    assert select(local) == hashed


def test_a_call_that_was_placed_here_stays_though_its_sfu_fills_up() -> None:
    local = placement_on(node("small", max_sessions=4), node("large", max_sessions=4))
    first = select(local)
    report(local, "created", first)
    assert select(local, "another") != first
    assert select(local) == first


# A snapshot that changes


def test_the_tables_follow_the_snapshot() -> None:
    snapshots = [
        Snapshot(tuple(fleet(3)), 4),
        Snapshot((node("sfu9"),), 4),
        Snapshot((node("sfu9", "us"),), 4),
    ]
    now = snapshots[0]
    local = SnapshotPlacer(lambda: now, Clock())
    assert {select(local, issuer) for issuer in ISSUERS[:50]} == {"sfu0", "sfu1", "sfu2"}
    now = snapshots[1]
    assert select(local, groups=(("eu",),)) == "sfu9"
    now = snapshots[2]
    assert select(local, groups=(("us",),)) == "sfu9"
    with pytest.raises(NoSfuAvailable):
        select(local, groups=(("eu",),))


async def test_a_large_fleet_is_prepared_beside_the_requests() -> None:
    local = placement_on(*fleet(300))
    await local.prepare()
    anew = placement_on(*fleet(300))
    assert [select(local, issuer) for issuer in ISSUERS[:50]] == [
        select(anew, issuer) for issuer in ISSUERS[:50]
    ]


# What a placement costs (S5, R35)


def steps_per_placement(local: SnapshotPlacer) -> float:
    before = local.steps
    for issuer in ISSUERS:
        select(local, issuer)
    return (local.steps - before) / len(ISSUERS)


def test_a_placement_costs_as_many_steps_in_a_large_fleet_as_in_a_small_one() -> None:
    small, large = placement_on(*fleet(20)), placement_on(*fleet(10_000))
    assert steps_per_placement(large) <= 1.5 * steps_per_placement(small)


def test_full_and_failed_sfus_make_no_search_longer() -> None:
    nodes = [node(f"full{number}", sessions=1_000_000) for number in range(2_000)]
    ejected = [node(f"ejected{number}", eligibility="last-resort") for number in range(2_000)]
    local = placement_on(*nodes, *ejected, *fleet(20))
    assert steps_per_placement(local) <= 1.5 * steps_per_placement(placement_on(*fleet(20)))


def test_a_refusal_in_a_large_full_fleet_looks_at_no_point() -> None:
    local = placement_on(*(node(f"full{number}", sessions=1_000_000) for number in range(2_000)))
    with pytest.raises(Overloaded):
        select(local)
    assert local.steps == 0


# When Redis is back


def test_the_newest_channel_of_an_issuer_is_kept_for_the_registry() -> None:
    local = placement_on(node("a"))
    select(local)
    report(local, "created", "a", uuid="first")
    report(local, "created", "a", uuid="second")
    report(local, "failed", "a", issuer="another")
    [kept] = local.outbox.batch()
    assert (kept.call, kept.address, kept.uuid) == (call_id("issuer"), "http://a", "second")
    assert kept.id == "request of issuer"


def test_with_the_registry_back_old_failures_and_reservations_are_forgotten() -> None:
    local = placement_on(node("small", max_sessions=4))
    select(local)
    report(local, "failed", "small")
    local.forget_marks()
    assert select(local) == "small"


# While Redis is shaky


def test_the_registry_is_told_the_sfu_that_the_replica_would_choose_without_it() -> None:
    local = placement_on(*(node(name) for name in "abcdef"))
    preferred = local.preferred(PlacementRequest("request", call_id()))
    assert preferred == local.select(PlacementRequest("request", call_id())).address
    others = PlacementRequest("request", call_id(), exclude=(preferred,))
    assert local.preferred(others) not in ("", preferred)


def test_a_known_call_is_what_the_replica_prefers() -> None:
    local = placement_on(*(node(name) for name in "abcdef"))
    report(local, "created", "c")
    assert local.preferred(PlacementRequest("request", call_id())) == "http://c"


def test_without_an_open_sfu_the_replica_prefers_none() -> None:
    local = placement_on(node("a", eligibility="sticky-only"))
    assert local.preferred(PlacementRequest("request", call_id())) == ""


@pytest.mark.parametrize("asked", ["http://a", "http://b", "http://c"])
def test_a_request_follows_the_lock_owner_that_it_has_waited_for(asked: str) -> None:
    local = placement_on(*(node(name) for name in "abc"))
    placement = local.select(PlacementRequest("request", call_id()), asked)
    assert (placement.address, placement.reason) == (asked, "sticky")


def test_a_request_does_not_follow_a_lock_owner_to_an_sfu_that_it_has_tried() -> None:
    local = placement_on(node("a"), node("b"))
    request = PlacementRequest("request", call_id(), exclude=("http://a",))
    assert local.select(request, "http://a").address == "http://b"
