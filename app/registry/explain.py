"""Why a channel would land where it would: every candidate, its score and the reason it was passed over.

A dry run over the fleet as people see it. It changes nothing and is on no request path.
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
    """What candidates are compared by: the effective load, or with round-robin the turn."""
    group: int
    """The first of the request's region groups that it belongs to, from 1; 0 for none."""
    verdict: str
    """`chosen`, `tied` (as likely as the chosen), or why it was passed over."""


def explain(
    fleet: Sequence[SfuStatus],
    request: PlacementRequest,
    *,
    strategy: Literal["load", "round-robin"],
    choices: int,
    sticky: str = "",
) -> list[Candidate]:
    """Return every SFU, the best first, with its verdict. `sticky` is where the issuer is placed already."""
    ranked = sorted(
        (Candidate(sfu, _score(sfu, strategy), _group(sfu, request.groups), "") for sfu in fleet),
        key=lambda candidate: (
            candidate.sfu.standing != "selectable",
            candidate.group or len(request.groups) + 1,
            candidate.score,
            candidate.sfu.address,
        ),
    )
    in_the_running = [each for each in ranked if not _obstacle(each, request)]
    best = _best(in_the_running, choices)
    best_group = in_the_running[0].group if in_the_running else 0
    return [replace(each, verdict=_verdict(each, request, best, best_group, sticky)) for each in ranked]


def _score(sfu: SfuStatus, strategy: Literal["load", "round-robin"]) -> float:
    return sfu.turn if strategy == "round-robin" else sfu.effective_load


def _group(sfu: SfuStatus, groups: Sequence[Sequence[str]]) -> int:
    numbers = (i for i, group in enumerate(groups, 1) if sfu.region in group or ANYWHERE in group)
    return next(numbers, 0)


def _obstacle(candidate: Candidate, request: PlacementRequest) -> str:
    """What keeps a candidate out whatever the others are; empty for nothing."""
    if candidate.sfu.address in request.exclude:
        return "tried"
    if candidate.sfu.standing != "selectable":
        return candidate.sfu.standing
    return "" if candidate.group else "region-not-allowed"


def _keeps(sfu: SfuStatus, request: PlacementRequest) -> bool:
    """Whether an SFU keeps an issuer that it has: what `lua/includes/keeps_sticky.lua` decides."""
    is_allowed = request.allow is None or sfu.region in request.allow
    if not is_allowed or sfu.address in request.exclude:
        return False
    if sfu.breaker == "open" or sfu.standing == "on-trial":
        return False
    is_overdue = sfu.drained and sfu.drain_until > 0
    return sfu.state == "up" or (sfu.state == "draining" and not is_overdue)


def _best(candidates: Sequence[Candidate], choices: int) -> frozenset[str]:
    """The addresses of which one would be drawn: the `choices` lowest, and ties of the last of them."""
    group = [each for each in candidates if each.group == candidates[0].group]
    return frozenset(each.sfu.address for each in group if each.score <= group[:choices][-1].score)


def _verdict(
    candidate: Candidate, request: PlacementRequest, best: frozenset[str], best_group: int, sticky: str
) -> str:
    if candidate.sfu.address == sticky and _keeps(candidate.sfu, request):
        return "sticky"
    if obstacle := _obstacle(candidate, request):
        return obstacle
    if candidate.sfu.address in best:
        return "chosen" if len(best) == 1 else "tied"
    return "other-region" if candidate.group > best_group else "higher-score"
