"""Why a channel would land where it would: every candidate, its score and the reason it was passed over.

The scripts decide: `explain.lua` names the winner, `describe.lua` the state of every SFU. Nothing is reserved, and
no request waits for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from app.registry.placements import PlacementRequest
from app.registry.sfus import SfuStatus

ANYWHERE = "*"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One SFU in a would-be placement."""

    sfu: SfuStatus
    score: float
    """What candidates are compared by: the effective load, or with round-robin the slot."""
    group: int
    """The first of the request's region groups that it belongs to, from 1; 0 for none."""
    verdict: str
    """`chosen`, `sticky`, `last-resort`, `tied` (as likely as the chosen), or why it was passed over."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What `select.lua` would answer."""

    winner: str
    """The address; empty for no SFU."""
    reason: str
    group: int
    placement: str
    """Where the issuer is placed; empty for nowhere."""


def explain(
    fleet: Sequence[SfuStatus],
    request: PlacementRequest,
    decision: Decision,
    *,
    strategy: Literal["load", "round-robin"],
    choices: int,
) -> list[Candidate]:
    """Return every SFU, the best first, with its verdict; exactly one has won, unless there is none."""
    ranked = sorted(
        (Candidate(sfu, _score(sfu, strategy), _group(sfu, request.groups), "") for sfu in fleet),
        key=lambda candidate: (
            candidate.sfu.address != decision.winner,
            candidate.sfu.tier != "load",
            candidate.group or len(request.groups) + 1,
            candidate.score,
            candidate.sfu.address,
        ),
    )
    draw = _draw(ranked, request, decision, choices)
    return [replace(each, verdict=_verdict(each, request, decision, draw)) for each in ranked]


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
    if sfu.address == decision.winner and decision.reason in ("sticky", "last-resort"):
        return decision.reason
    if sfu.address in request.exclude:
        return "tried"
    if not sfu.is_selectable:
        return "permit-taken" if sfu.state == "half-open" else sfu.state
    if not candidate.group:
        return "region-not-allowed"
    if decision.reason == "sticky":
        return "not-the-calls"
    if sfu.address in draw:
        return "chosen" if len(draw) == 1 else "tied"
    return "other-region" if candidate.group > decision.group else "higher-score"
