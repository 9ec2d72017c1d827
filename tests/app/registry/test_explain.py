"""An explanation says of every SFU what a placement would do, and placements then do it."""

import contextlib
from collections.abc import Sequence
from typing import Any, Literal

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from app.errors import NoSfuAvailable, Overloaded, UnknownSfu
from app.registry.explain import explain
from app.registry.placements import PlacementRequest
from app.registry.sfus import SfuStatus
from tests.lua.fleet import KEY, A, B, C, D, Fleet
from tests.support.engines import fake_engine

NAMES = {A: "a", B: "b", C: "c", D: "d"}


def sfu(address: str, load: float = 0.1, region: str = "eu", **status: Any) -> SfuStatus:
    """An SFU, by default a healthy one."""
    healthy = {"state": "up", "standing": "selectable", "breaker": "closed"} | status
    return SfuStatus(address, region, generation=1, heartbeat_age_ms=0, effective_load=load, **healthy)


def verdicts(
    fleet: Sequence[SfuStatus],
    *,
    strategy: Literal["load", "round-robin"] = "load",
    choices: int = 1,
    sticky: str = "",
    **request: Any,
) -> str:
    """What is said of each SFU, in order, as `a chosen, b higher-score`."""
    asked = PlacementRequest("id", "issuer", **request)
    candidates = explain(fleet, asked, strategy=strategy, choices=choices, sticky=sticky)
    return ", ".join(f"{NAMES[each.sfu.address]} {each.verdict}" for each in candidates)


def test_the_least_loaded_is_chosen() -> None:
    assert verdicts([sfu(A, 0.3), sfu(B, 0.1), sfu(C, 0.2)]) == "b chosen, c higher-score, a higher-score"


def test_equals_are_tied() -> None:
    assert verdicts([sfu(A, 0.1), sfu(B, 0.1), sfu(C, 0.2)]) == "a tied, b tied, c higher-score"


def test_with_choices_the_best_few_are_tied_and_their_equals_with_them() -> None:
    fleet = [sfu(A, 0.1), sfu(B, 0.2), sfu(C, 0.2), sfu(D, 0.3)]
    assert verdicts(fleet, choices=2) == "a tied, b tied, c tied, d higher-score"
    assert verdicts(fleet, choices=9) == "a tied, b tied, c tied, d tied"


def test_with_round_robin_the_turn_decides() -> None:
    fleet = [sfu(A, 0.1, turn=2), sfu(B, 0.9, turn=1)]
    assert verdicts(fleet, strategy="round-robin") == "b chosen, a higher-score"


def test_a_better_region_comes_first() -> None:
    fleet = [sfu(A, 0.1, "us"), sfu(B, 0.8, "eu"), sfu(C, 0.0, "ap")]
    groups = (("eu",), ("us",))
    assert verdicts(fleet, groups=groups) == "b chosen, a other-region, c region-not-allowed"


@pytest.mark.parametrize(
    "why", ["draining", "failed", "full", "overloaded", "breaker-open", "on-trial", "down"]
)
def test_who_takes_no_channels_is_listed_with_the_reason(why: str) -> None:
    assert verdicts([sfu(A, 0.1, standing=why), sfu(B, 0.9)]) == f"b chosen, a {why}"


def test_what_was_tried_is_not_tried_again() -> None:
    assert verdicts([sfu(A, 0.1), sfu(B, 0.9)], exclude=(A,)) == "a tried, b chosen"


def test_an_issuer_stays_where_it_is_placed() -> None:
    assert "b sticky" in verdicts([sfu(A, 0.1), sfu(B, 0.9)], sticky=B)
    assert "b sticky" in verdicts([sfu(A, 0.1), sfu(B, 0.9, standing="full")], sticky=B)
    assert "b sticky" in verdicts([sfu(A), sfu(B, state="draining", standing="draining")], sticky=B)


@pytest.mark.parametrize(
    "status",
    [
        {"state": "failed", "standing": "failed"},
        {"state": "down", "standing": "down"},
        {"breaker": "open", "standing": "breaker-open"},
        {"breaker": "half-open", "standing": "on-trial"},
        {"state": "draining", "standing": "draining", "drain_until": 1, "drained": True},
    ],
    ids=lambda status: " ".join(map(str, status.values())),
)
def test_but_not_where_its_call_cannot_be(status: dict[str, Any]) -> None:
    assert "sticky" not in verdicts([sfu(A), sfu(B, **status)], sticky=B)


def test_nor_where_it_was_tried_or_may_not_go() -> None:
    assert "sticky" not in verdicts([sfu(A), sfu(B)], sticky=B, exclude=(B,))
    assert "sticky" not in verdicts([sfu(A), sfu(B, region="us")], sticky=B, allow=("eu",))


def test_without_sfus_there_is_nothing_to_say() -> None:
    assert verdicts([]) == ""


# Held against what a placement does


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
        fleet = Fleet(client, strategy=strategy, choices=choices, max_ejected_percent=100)
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
        said = {each.sfu.address: each.verdict for each in await fleet.registry.explain(request)}
        sticky = {address for address, verdict in said.items() if verdict == "sticky"}
        best = {address for address, verdict in said.items() if verdict in ("chosen", "tied")}
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
        before = await fleet.registry.describe(address)
    except UnknownSfu:
        return
    if what == "drained":
        await fleet.registry.drain(address)
    elif what == "overdue":
        await fleet.registry.drain(address, deadline_ms=1)
        fleet.wait(1)
        await fleet.registry.finish_drains()
    elif what == "gone":
        await fleet.registry.sign_off(address, KEY)
    else:
        await fleet.fail(address, times=1 if what in ("failed", "recovered") else 5)
        if what == "half-open":
            await fleet.registry.probe(address, answered=True)
        if what in ("recovered", "opened"):
            await fleet.beat(address, region=before.region, sessions=before.sessions)
