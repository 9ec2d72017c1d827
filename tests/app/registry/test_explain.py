"""An explanation says of every SFU what a placement would do, and placements then do it."""

import contextlib
from collections.abc import Sequence
from typing import Any, Literal

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from app.errors import NoSfuAvailable, Overloaded, UnknownSfu
from app.registry.explain import Decision, explain
from app.registry.placements import PlacementRequest
from app.registry.sfus import SfuStatus
from tests.lua.fleet import KEY, A, B, C, D, Fleet
from tests.support.calls import call_id
from tests.support.engines import fake_engine

NAMES = {A: "a", B: "b", C: "c", D: "d"}


def sfu(address: str, load: float = 0.1, region: str = "eu", **status: Any) -> SfuStatus:
    """An SFU, by default a healthy one."""
    healthy: dict[str, Any] = {"state": "selectable", "breaker": "closed"} | status
    return SfuStatus(address, region, generation=1, heartbeat_age_ms=0, effective_load=load, **healthy)


def verdicts(
    fleet: Sequence[SfuStatus],
    winner: str = "",
    reason: str = "least-load",
    *,
    strategy: Literal["load", "round-robin"] = "load",
    choices: int = 1,
    group: int = 1,
    **request: Any,
) -> str:
    """What is said of each SFU, in order, as `a chosen, b higher-score`, when `winner` has won."""
    decision = Decision(winner, reason if winner else "none", group if winner else 0, "")
    asked = PlacementRequest("id", call_id(), **request)
    candidates = explain(fleet, asked, decision, strategy=strategy, choices=choices).candidates
    return ", ".join(f"{NAMES[each.sfu.address]} {each.verdict}" for each in candidates)


def test_the_winner_is_chosen_and_comes_first() -> None:
    fleet = [sfu(A, 0.3), sfu(B, 0.1), sfu(C, 0.2)]
    assert verdicts(fleet, B) == "b chosen, c higher-score, a higher-score"


def test_the_winner_is_chosen_also_when_its_score_has_risen_since() -> None:
    assert verdicts([sfu(A, 0.2), sfu(B, 0.1), sfu(C, 0.3)], A) == "a chosen, b tied, c higher-score"


def test_one_of_equals_is_chosen() -> None:
    assert verdicts([sfu(A, 0.1), sfu(B, 0.1), sfu(C, 0.2)], B) == "b chosen, a tied, c higher-score"


def test_with_choices_the_best_few_are_tied_and_their_equals_with_them() -> None:
    fleet = [sfu(A, 0.1), sfu(B, 0.2), sfu(C, 0.2), sfu(D, 0.3)]
    assert verdicts(fleet, A, choices=2) == "a chosen, b tied, c tied, d higher-score"
    assert verdicts(fleet, A, choices=9) == "a chosen, b tied, c tied, d tied"


def test_with_round_robin_the_slot_is_the_score() -> None:
    fleet = [sfu(A, 0.1, round_robin_seq=2), sfu(B, 0.9, round_robin_seq=1)]
    assert verdicts(fleet, B, "round-robin", strategy="round-robin") == "b chosen, a higher-score"


def test_a_better_region_comes_first() -> None:
    fleet = [sfu(A, 0.1, "us"), sfu(B, 0.9, "eu"), sfu(C, 0.5, "asia")]
    groups = (("eu",), ("us",))
    assert verdicts(fleet, B, groups=groups) == "b chosen, a other-region, c region-not-allowed"


@pytest.mark.parametrize("state", ["draining", "drained", "ejected", "full", "overloaded", "expired", "lost"])
def test_an_sfu_that_takes_no_channels_is_listed_with_its_state(state: Any) -> None:
    assert verdicts([sfu(A, state=state, tier=""), sfu(B, 0.9)], B) == f"b chosen, a {state}"


def test_an_sfu_that_was_tried_is_not_tried_again() -> None:
    assert verdicts([sfu(A), sfu(B, 0.9)], B, exclude=(A,)) == "b chosen, a tried"


def test_one_sfu_wins_when_the_issuer_is_placed() -> None:
    fleet = [sfu(A, 0.1), sfu(B, 0.9, state="full", tier="overloaded")]
    assert verdicts(fleet, B, "sticky") == "b sticky, a not-the-calls"


def test_the_last_resort_is_called_that() -> None:
    fleet = [sfu(A, state="draining", tier=""), sfu(B, state="ejected", tier="ejected")]
    assert verdicts(fleet, B, "last-resort") == "b last-resort, a draining"


def test_without_sfus_there_is_nothing_to_list() -> None:
    assert verdicts([]) == ""


def test_without_a_winner_refusals_come_first() -> None:
    fleet = [sfu(A, 0.1, "us"), sfu(B, 0.9, "eu", state="full", tier="overloaded")]
    assert verdicts(fleet, groups=(("eu",),)) == "b full, a region-not-allowed"


LOST = sfu(A, state="lost", reason="expired", tier="")
"""The SFU that had the call."""


@pytest.mark.parametrize(
    ("fleet", "winner", "reason", "says", "order"),
    [
        ([sfu(A), sfu(B)], B, "sticky", f"{B} keeps its call here.", "ba"),
        ([sfu(A), sfu(B)], B, "least-load", f"The call goes to {B}: it has the lowest score.", "ba"),
        (
            [LOST, sfu(B, 0.2), sfu(C, 0.1)], C, "least-load",
            f"The call was on {A}, which is lost (expired). The call goes to {C}: it has the lowest score.", "cab",
        ),
        (
            [sfu(B, state="full", reason="sessions", tier="overloaded"), LOST], "", "none",
            f"The call was on {A}, which is lost (expired). No SFU takes the call: 1 lost, 1 full.", "ab",
        ),
        ([], "", "none", "No SFU takes the call: none is registered.", ""),
    ],
    ids=["stays", "new", "moves", "nowhere", "empty"],
)  # fmt: skip
def test_the_answer_names_the_winner_and_what_became_of_the_sfu_that_had_the_call(
    fleet: list[SfuStatus], winner: str, reason: str, says: str, order: str
) -> None:
    placement = B if reason == "sticky" else A if LOST in fleet else ""
    decision = Decision(winner, reason, 1 if winner else 0, placement)
    explained = explain(fleet, PlacementRequest("id", call_id()), decision, strategy="load", choices=1)
    assert explained.answer == says
    assert "".join(NAMES[each.sfu.address] for each in explained.candidates) == order
    assert [each.sfu.address for each in explained.candidates if each.has_call] == [
        each.address for each in fleet if each.address == placement
    ]


async def test_a_call_whose_sfu_was_forgotten_says_so() -> None:
    async with fake_engine().connect() as client:
        fleet = Fleet(client)
        await fleet.beat(A)
        await fleet.place()
        await fleet.registry.fleet.forget(A)
        await fleet.beat(B)
        answer = (await fleet.registry.fleet.explain(PlacementRequest("new request", call_id()))).answer
    assert answer.startswith(f"The call was on {A}, which is not registered any more.")


regions = st.sampled_from(["eu", "us", "ap"])
figures = st.fixed_dictionaries(
    {
        "region": regions,
        "sessions": st.sampled_from([1, 2, 50, 899, 950, 1_000]),
        "cpu": st.sampled_from([0, 0.1, 0.33, 0.96]),
        "memory": st.sampled_from([0, 0.2, 0.77]),
    }
)
groups = st.lists(
    st.lists(regions | st.just("*"), min_size=1, max_size=2, unique=True), min_size=1, max_size=3
)
what_happened = st.sampled_from(["failed", "opened", "half-open", "drained", "overdue", "gone", "recovered"])


@settings(max_examples=80)
@given(
    reports=st.lists(figures, min_size=1, max_size=4),
    happened=st.dictionaries(st.sampled_from([A, B, C, D]), what_happened),
    is_placed=st.booleans(),
    asked=groups,
    exclude=st.sets(st.sampled_from([A, B, C, D]), max_size=2),
    allow=st.none() | st.lists(regions, min_size=1, max_size=2),
    strategy=st.sampled_from(["load", "round-robin"]),
    choices=st.integers(1, 3),
    draw=st.floats(0, 1, exclude_max=True),
)
async def test_a_placement_picks_what_the_explanation_says(
    reports: list[dict[str, Any]],
    happened: dict[str, str],
    is_placed: bool,
    asked: list[list[str]],
    exclude: set[str],
    allow: list[str] | None,
    strategy: str,
    choices: int,
    draw: float,
) -> None:
    async with fake_engine().connect() as client:
        fleet = Fleet(client, strategy=strategy, choices=choices)
        for address, report in zip([A, B, C, D], reports, strict=False):
            await fleet.beat(address, **report)
        if is_placed:
            await _placed(fleet)
        for address, what in happened.items():
            await _happen(fleet, address, what)
        fleet.draw = draw
        request = PlacementRequest(
            "new request",
            call_id(),
            groups=tuple(map(tuple, asked)),
            exclude=tuple(exclude),
            allow=None if allow is None else tuple(allow),
        )
        explained = await fleet.registry.fleet.explain(request)
        said = {each.sfu.address: each.verdict for each in explained.candidates}
        sticky = {address for address, verdict in said.items() if verdict in ("sticky", "last-resort")}
        best = {address for address, verdict in said.items() if verdict in ("chosen", "tied")}
        assert not (sticky and best)
        winners = [verdict for verdict in said.values() if verdict in ("chosen", "sticky", "last-resort")]
        assert len(winners) <= 1
        try:
            placement = await fleet.registry.select(request)
        except (NoSfuAvailable, Overloaded):
            assert not sticky | best
        else:
            assert placement.address in (sticky or best)


async def _placed(fleet: Fleet) -> None:
    with contextlib.suppress(NoSfuAvailable, Overloaded):
        await fleet.place()
    fleet.wait(2_000)  # longer than requests of the issuer pass freely


async def _happen(fleet: Fleet, address: str, what: str) -> None:
    try:
        before = await fleet.registry.fleet.describe(address)
    except UnknownSfu:
        return
    if what == "drained":
        await fleet.registry.fleet.drain(address)
    elif what == "overdue":
        await fleet.registry.fleet.drain(address, deadline_ms=1)
        fleet.wait(1)
        await fleet.registry.sweeps.finish_drains()
    elif what == "gone":
        await fleet.registry.registrations.sign_off(address, KEY)
    else:
        await fleet.fail(address, times=1 if what in ("failed", "recovered") else 5)
        if what == "half-open":
            await fleet.registry.sweeps.probe(address, answered=True)
        if what in ("recovered", "opened"):
            await fleet.beat(address, region=before.region, sessions=before.sessions)
