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
    asked = PlacementRequest("id", "issuer", **request)
    candidates = explain(fleet, asked, decision, strategy=strategy, choices=choices)
    return ", ".join(f"{NAMES[each.sfu.address]} {each.verdict}" for each in candidates)


def test_the_winner_is_chosen_and_comes_first() -> None:
    fleet = [sfu(A, 0.3), sfu(B, 0.1), sfu(C, 0.2)]
    assert verdicts(fleet, B) == "b chosen, c higher-score, a higher-score"


def test_equals_are_tied() -> None:
    assert verdicts([sfu(A, 0.1), sfu(B, 0.1), sfu(C, 0.2)], B) == "b tied, a tied, c higher-score"


def test_with_choices_the_best_few_are_tied_and_their_equals_with_them() -> None:
    fleet = [sfu(A, 0.1), sfu(B, 0.2), sfu(C, 0.2), sfu(D, 0.3)]
    assert verdicts(fleet, A, choices=2) == "a tied, b tied, c tied, d higher-score"
    assert verdicts(fleet, A, choices=9) == "a tied, b tied, c tied, d tied"


def test_with_round_robin_the_slot_is_the_score() -> None:
    fleet = [sfu(A, 0.1, round_robin_seq=2), sfu(B, 0.9, round_robin_seq=1)]
    assert verdicts(fleet, B, "round-robin", strategy="round-robin") == "b chosen, a higher-score"


def test_a_better_region_comes_first() -> None:
    fleet = [sfu(A, 0.1, "us"), sfu(B, 0.9, "eu"), sfu(C, 0.5, "asia")]
    groups = (("eu",), ("us",))
    assert verdicts(fleet, B, groups=groups) == "b chosen, a other-region, c region-not-allowed"


@pytest.mark.parametrize("state", ["draining", "drained", "ejected", "full", "overloaded", "expired", "down"])
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


def test_without_sfus_there_is_nothing_to_say() -> None:
    assert verdicts([]) == ""


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
            "issuer",
            groups=tuple(map(tuple, asked)),
            exclude=tuple(exclude),
            allow=None if allow is None else tuple(allow),
        )
        said = {each.sfu.address: each.verdict for each in await fleet.registry.fleet.explain(request)}
        sticky = {address for address, verdict in said.items() if verdict in ("sticky", "last-resort")}
        best = {address for address, verdict in said.items() if verdict in ("chosen", "tied")}
        assert not (sticky and best)
        try:
            placement = await fleet.registry.select(request)
        except (NoSfuAvailable, Overloaded):
            assert not sticky | best
        else:
            assert placement.address in (sticky or best)  # type: ignore[union-attr]


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
