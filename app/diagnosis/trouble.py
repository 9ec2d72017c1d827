"""One trouble of the fleet, of Redis or of a replica, as people are told of it."""

from dataclasses import dataclass, field
from typing import Final, Literal, get_args

Code = Literal[
    "redis_refuses",
    "redis_away",
    "mass_expiry",
    "fleet_empty",
    "nothing_selectable",
    "channels_refused",
    "sfu_misconfigured",
    "sfu_ejected",
    "sfu_failing",
    "sfu_lost",
    "sfu_silent",
    "address_shared",
    "sweeper_missing",
    "sweeper_behind",
    "replica_missing",
    "heartbeats_refused",
    "region_empty",
    "rescue_failing",
    "redis_unfit",
    "clock_differs",
    "replica_recovering",
    "sfu_signed_off",
    "drain_overdue",
    "sfu_full",
    "sfu_overloaded",
    "headroom_low",
    "sfu_late",
    "sfu_setup",
]
"""Stable names, the most urgent first. Each is a section of docs/runbooks.md."""

CODES: Final[tuple[Code, ...]] = get_args(Code)

Severity = Literal["error", "warning"]
"""`error`: calls fail, or people are cut off. `warning`: calls are served, and a person should look."""

SubjectKind = Literal["sfu", "region", "replica", "sweeper", "redis", "fleet"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What a trouble is about."""

    kind: SubjectKind
    name: str = ""
    """Address of the SFU, name of the region or host of the replica; empty where there is one only."""
    region: str = ""
    """Of an SFU or a region."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What is known of the reason."""

    last_error: str = ""
    """The last error or status, free of secrets."""
    ago_ms: int | None = None
    """How long ago that was; `None` where it is not known."""
    count: int = 0
    """How often it happened; 0 where it is not counted."""
    likely: str = ""
    """What probably explains it."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong."""

    code: Code
    severity: Severity
    what: str
    """One plain sentence."""
    subject: Subject
    command: str
    """What to run first."""
    since_ms: int | None = None
    """For how long it has been so; `None` where it is not known."""
    calls: int = 0
    """Calls on the SFUs that are concerned."""
    people: int = 0
    """People in those calls."""
    cause: Cause = field(default_factory=Cause)

    @property
    def runbook(self) -> str:
        """Return the section of the runbooks."""
        return f"docs/runbooks.md#{self.code}"


def worst_first(troubles: list[Trouble]) -> list[Trouble]:
    """Return `troubles` as they are listed: errors, then warnings, by code and by how many people they affect."""
    return sorted(
        troubles,
        key=lambda each: (
            each.severity == "warning",
            CODES.index(each.code),
            -each.people,
            each.subject.region,
            each.subject.name,
        ),
    )
