"""Why a channel would land where it would: every candidate, its score and the reason it was passed over.

The scripts decide: `explain.lua` names the winner, `read_fleet.lua` the state of every SFU. Nothing is reserved, and
no request waits for it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from app.registry.placements import ANYWHERE, PlacementRequest
from app.registry.sfus import SfuStatus


@dataclass(frozen=True, slots=True)
class Candidate:
    """One SFU in a would-be placement."""

    sfu: SfuStatus
    score: float
    """What candidates are compared by: the effective load, or with round-robin the slot."""
    group: int
    """The first of the request's region groups that it belongs to, from 1; 0 for none."""
    verdict: str
    """`chosen`, `sticky` or `last-resort` of the winner, `tied` (as likely), or why the SFU was passed over."""
    has_call: bool = False
    """Whether the issuer's call is, or was, there."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What `select.lua` would answer."""

    winner: str
    """The address; empty for no SFU."""
    reason: str
    group: int
    placement: str
    """Where the issuer is placed; empty for nowhere."""


_WHY_CHOSEN: Final = {
    "least-load": "it has the lowest score",
    "round-robin": "it was chosen longest ago",
    "fallback": "no SFU of a region that comes first is selectable",
    "last-resort": "the last resort, no SFU is selectable",
}


@dataclass(frozen=True, slots=True)
class Explained:
    """A would-be placement."""

    answer: str
    """Where the call goes, in a sentence or two."""
    candidates: list[Candidate]
    """Every SFU: the winner, the one that has or had the call, then the best first. Without a winner those that
    refuse the call come first.
    """


def explain(
    fleet: Sequence[SfuStatus],
    request: PlacementRequest,
    decision: Decision,
    *,
    strategy: Literal["load", "round-robin"],
    choices: int,
) -> Explained:
    """Return every SFU with its verdict; exactly one has won, unless there is none."""
    ranked = sorted(
        (
            Candidate(
                sfu, _score(sfu, strategy), _group(sfu, request.groups), "", sfu.address == decision.placement
            )
            for sfu in fleet
        ),
        key=lambda candidate: (
            candidate.sfu.address != decision.winner,
            not candidate.has_call,
            candidate.sfu.tier != "load" and bool(decision.winner),
            candidate.group or len(request.groups) + 1,
            candidate.score,
            candidate.sfu.address,
        ),
    )
    draw = _draw(ranked, request, decision, choices)
    candidates = [replace(each, verdict=_verdict(each, request, decision, draw)) for each in ranked]
    return Explained(_answer(candidates, decision), candidates)


def _answer(candidates: Sequence[Candidate], decision: Decision) -> str:
    if decision.reason == "sticky":
        return f"{decision.winner} keeps its call here."
    had_it = ""
    if decision.placement and decision.placement != decision.winner:
        sfu = next((each.sfu for each in candidates if each.has_call), None)
        had_it = f"The call was on {decision.placement}, which is {_condition(sfu)}. "
    if decision.winner:
        return f"{had_it}The call goes to {decision.winner}: {_WHY_CHOSEN.get(decision.reason, decision.reason)}."
    counts = Counter(each.verdict for each in candidates)
    why = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    return f"{had_it}No SFU takes the call: {why or 'none is registered'}."


def _condition(sfu: SfuStatus | None) -> str:
    if sfu is None:
        return "not registered any more"
    if sfu.is_selectable:
        return "registered anew, or in a region that is not allowed"
    return f"{sfu.state} ({sfu.reason})" if sfu.reason else sfu.state


def _score(sfu: SfuStatus, strategy: Literal["load", "round-robin"]) -> float:
    return sfu.round_robin_seq if strategy == "round-robin" else sfu.effective_load


def _group(sfu: SfuStatus, groups: Sequence[Sequence[str]]) -> int:
    numbers = (i for i, group in enumerate(groups, 1) if sfu.region in group or ANYWHERE in group)
    return next(numbers, 0)


def _draw(
    ranked: Sequence[Candidate], request: PlacementRequest, decision: Decision, choices: int
) -> frozenset[str]:
    """The addresses that the winner was drawn from: the `choices` lowest scores, and ties of the last of them."""
    if decision.reason in ("sticky", "last-resort") or not decision.winner:
        return frozenset()
    group = [
        each
        for each in ranked
        if each.group == decision.group and each.sfu.is_selectable and each.sfu.address not in request.exclude
    ]
    limit = sorted(each.score for each in group)[:choices]
    return frozenset(each.sfu.address for each in group if limit and each.score <= limit[-1])


def _verdict(
    candidate: Candidate, request: PlacementRequest, decision: Decision, draw: frozenset[str]
) -> str:
    sfu = candidate.sfu
    if sfu.address == decision.winner:  # its score may have changed since the decision
        return decision.reason if decision.reason in ("sticky", "last-resort") else "chosen"
    if sfu.address in request.exclude:
        return "tried"
    if not sfu.is_selectable:
        return "permit-taken" if sfu.state == "half-open" else sfu.state
    if not candidate.group:
        return "region-not-allowed"
    if decision.reason == "sticky":
        return "not-the-calls"
    if sfu.address in draw:
        return "tied"
    return "other-region" if candidate.group > decision.group else "higher-score"
