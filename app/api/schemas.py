"""What the gateway's routes take and answer, as models: for the OpenAPI document and for the command line.

Names are those on the wire. Endpoints answer with them (`app.api.responses`).
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.diagnosis import trouble as diagnosis
from app.regions.table import HintSource

if TYPE_CHECKING:
    from app.diagnosis.facts import Facts
    from app.regions.choice import RegionChoice
    from app.registration.service import Checked, Reply
    from app.registry.explain import Candidate, Explained
    from app.registry.sfus import SfuStatus

Breaker = Literal["closed", "open", "half-open"]
Standing = Literal["up", "draining", "down", "misconfigured"]


class Document(BaseModel):
    """A JSON object. Readers ignore members they do not know; a later version may add some."""

    model_config = ConfigDict(frozen=True, defer_build=True)  # a command needs few of them


def documents(of: type[Document] = Document) -> Iterator[type[Document]]:
    """Yield every class of documents."""
    for each in of.__subclasses__():
        yield each
        yield from documents(each)


class Channel(Document):
    """A call channel."""

    uuid: str
    """The channel's id on its SFU."""
    url: str
    """Base URL of that SFU, for browsers."""


class Checks(Document):
    """What a replica found when it asked an SFU that wants to know."""

    reachable: bool
    """Whether something answers at its address."""
    keyAccepted: bool | None  # noqa: N815
    """Whether the SFU accepts the key that it sent; null when its answer does not tell."""
    clockAheadSeconds: int | None = None  # noqa: N815
    """By how much the SFU's clock is ahead of the gateway's, where it refuses the key and that may be the cause."""

    @classmethod
    def of(cls, checked: "Checked") -> "Checks":
        """Return what the registration found as the heartbeat route shows it."""
        shown = cls(reachable=checked.is_reachable, keyAccepted=checked.is_key_accepted)
        if not checked.clock_ahead_s:
            return shown
        return shown.model_copy(update={"clockAheadSeconds": checked.clock_ahead_s})


class HeartbeatReply(Document):
    """What an SFU is told."""

    status: Literal["ok"]
    nextPingMs: int  # noqa: N815 - names on the wire, here and below
    """Milliseconds until the next heartbeat is due."""
    draining: bool
    """Whether the SFU is to take no new channels."""
    checks: Checks | None = None
    """In the answer to a heartbeat whose `status` is `check`."""
    warnings: list[str] | None = None
    """What the gateway has seen to be wrong with the SFU's set-up, if anything: codes as in `/v1/health`."""

    @classmethod
    def of(cls, reply: "Reply") -> "HeartbeatReply":
        """Return a reply of the registration as the heartbeat route shows it."""
        shown = cls(status="ok", nextPingMs=reply.next_ping_ms, draining=reply.is_draining)
        if reply.warnings:
            shown = shown.model_copy(update={"warnings": list(reply.warnings)})
        return (
            shown if reply.checked is None else shown.model_copy(update={"checks": Checks.of(reply.checked)})
        )


class Disconnected(Document):
    """What became of a disconnect."""

    sfus: int
    """SFUs that were told."""
    failed: list[str]
    """Addresses of SFUs that could not be told."""
    unknownChannels: int  # noqa: N815
    """Channels without a known owner."""


class Moves(Document):
    """The calls of an SFU that is drained with `move`."""

    left: int
    moved: int
    kept: int
    """Odoo left them where they are."""
    failed: int
    """Odoo gave no answer in time, or refused."""

    @classmethod
    def of(cls, sfu: "SfuStatus") -> "Moves | None":
        """Return how far the moving of its calls is; `None` when it was never ordered."""
        if sfu.moves < 0:
            return None
        return cls(left=sfu.moves_left, moved=sfu.moved, kept=sfu.kept, failed=sfu.move_failed)


class Sfu(Document):
    """One SFU, living or lost."""

    address: str
    region: str
    status: Standing
    breaker: Breaker
    load: float
    """The load score, 0 is idle."""
    channels: int
    sessions: int
    maxSessions: int  # noqa: N815
    reserved: float
    """Sessions that are promised and not yet reported."""
    cpuUsage: float  # noqa: N815
    """0 to 1."""
    memoryUsage: float  # noqa: N815
    """0 to 1."""
    heartbeatAgeMs: int  # noqa: N815
    """Milliseconds since the last heartbeat."""
    state: str = ""
    """`selectable`, or why it takes no new channels: `full`, `overloaded`, `ejected`, `half-open`, `draining`,
    `drained`, `expired`, `signed-off` or `lost`."""
    reason: str = ""
    """Of `ejected` and `half-open`: `failed` or `misconfigured`; of `full`: `sessions`; of `overloaded`: `cpu`,
    `memory` or `load`; of `draining` and `drained`: `operator` or `sfu`; of `lost`: `expired` or
    `unreachable`."""
    errors: int = 0
    """Attempts without a channel since the last success, also those for which the SFU is not to blame."""
    lastError: str = ""  # noqa: N815
    """What the last of them met, free of secrets."""
    lastErrorAt: int = 0  # noqa: N815
    """When that was, in milliseconds of Redis' clock; 0: never."""
    sharedAddress: bool = False  # noqa: N815
    """Whether two processes report under its address and key in turn: one name hides two SFUs."""
    warnings: list[str] = []
    """What is wrong with its set-up, although it creates channels: `clock_off`, `forwarded_for_ignored`,
    `public_url_contradicted`, `region_not_allowed`, `url_not_https`."""
    moves: Moves | None = None
    """How far the moving of its calls is, where an operator has ordered it."""

    @classmethod
    def of(cls, sfu: "SfuStatus") -> "Sfu":
        """Return an SFU of the registry as the health route shows it."""
        return cls(
            address=sfu.address,
            region=sfu.region,
            status="down" if sfu.status == "failed" else sfu.status,
            breaker=sfu.breaker,
            load=round(sfu.load, 4),
            channels=sfu.channels,
            sessions=sfu.sessions,
            maxSessions=sfu.max_sessions,
            reserved=round(sfu.reserved, 2),
            cpuUsage=sfu.cpu,
            memoryUsage=sfu.memory,
            heartbeatAgeMs=sfu.heartbeat_age_ms,
            state=sfu.state,
            reason=sfu.reason,
            errors=sfu.errors,
            lastError=sfu.last_error,
            lastErrorAt=sfu.last_error_at,
            sharedAddress=sfu.is_shared,
            warnings=sfu.setup.split(),
            moves=Moves.of(sfu),
        )


class Health(Document):
    """The fleet."""

    status: Literal["ok", "degraded", "down"]
    mode: Literal["registry", "snapshot"]
    """Whether channels are placed by the registry, or without it."""
    selectable: int
    """How many SFUs may take a new channel."""
    sfus: list[Sfu]


class Subject(Document):
    """What a trouble is about."""

    kind: diagnosis.SubjectKind
    name: str
    """Address of the SFU, name of the region or host of the replica; empty where there is one only."""
    region: str
    """Of an SFU or a region; else empty."""


class Cause(Document):
    """What is known of the reason of a trouble."""

    lastError: str  # noqa: N815
    """The last error or status, free of secrets; empty where there is none."""
    agoMs: int | None  # noqa: N815
    """How long ago that was, in milliseconds; null where it is not known."""
    count: int
    """How often it happened; 0 where it is not counted."""
    likely: str
    """What probably explains it; empty where nothing is known."""


class Trouble(Document):
    """One thing that is wrong."""

    code: diagnosis.Code
    """Stable; the name of its section in the runbooks."""
    severity: diagnosis.Severity
    """`error`: calls fail, or people are cut off. `warning`: calls are served, and a person should look."""
    what: str
    """One plain sentence."""
    subject: Subject
    sinceMs: int | None  # noqa: N815
    """For how long it has been so, in milliseconds; null where it is not known."""
    calls: int
    """Calls on the SFUs that are concerned."""
    people: int
    """People in those calls."""
    cause: Cause
    command: str
    """What to run first."""
    runbook: str
    """What to do: page and section of the docs."""

    @classmethod
    def of(cls, trouble: diagnosis.Trouble) -> "Trouble":
        """Return a trouble as the diagnosis route shows it."""
        subject, cause = trouble.subject, trouble.cause
        return cls(
            code=trouble.code,
            severity=trouble.severity,
            what=trouble.what,
            subject=Subject(kind=subject.kind, name=subject.name, region=subject.region),
            sinceMs=trouble.since_ms,
            calls=trouble.calls,
            people=trouble.people,
            cause=Cause(
                lastError=cause.last_error, agoMs=cause.ago_ms, count=cause.count, likely=cause.likely
            ),
            command=trouble.command,
            runbook=trouble.runbook,
        )


class Diagnosis(Document):
    """What is wrong."""

    ok: bool
    """Whether nothing is wrong."""
    summary: str
    """The fleet in one line."""
    ageMs: int  # noqa: N815
    """How old the figures are, in milliseconds: they stay while Redis is away."""
    troubles: list[Trouble]
    """The worst first; empty when nothing is wrong."""

    @classmethod
    def of(cls, facts: "Facts", *, age_ms: int = 0) -> "Diagnosis":
        """Return what is wrong by `facts`, whose figures of SFUs are `age_ms` old."""
        from app.diagnosis.rules import diagnose  # brings the registry along, which a command may not need

        troubles = diagnose(facts)
        return cls(
            ok=not troubles,
            summary=facts.fleet.summary if facts.fleet else "the fleet is not known",
            ageMs=age_ms,
            troubles=[Trouble.of(trouble) for trouble in troubles],
        )


class Hint(Document):
    """Where a channel should be, and what said so."""

    region: str | None
    source: HintSource | None
    country: str | None
    ignored: bool
    """Whether the request named places and none of them is known."""


class Terms(Document):
    """The addends of an effective load; the first three are the load score."""

    sessions: float
    cpu: float
    memory: float
    promised: float
    """CPU and memory that promised sessions will take."""


class ExplainedSfu(Document):
    """One candidate of a would-be placement."""

    address: str
    region: str
    verdict: str
    """`chosen`, `sticky` (it keeps its call here) or `last-resort` of the winner; else why it is passed over."""
    state: str = ""
    """As in `/v1/health`."""
    reason: str = ""
    hasCall: bool = False  # noqa: N815
    """Whether the issuer's call is, or was, there."""
    errors: int = 0
    """As in `/v1/health`."""
    lastError: str = ""  # noqa: N815
    """As in `/v1/health`."""
    score: float
    """What candidates are compared by; the lowest wins."""
    terms: Terms
    sessions: int
    reserved: float
    maxSessions: int  # noqa: N815
    group: int
    """The first region group that it belongs to, from 1; 0 for none."""

    @classmethod
    def of(cls, candidate: "Candidate") -> "ExplainedSfu":
        """Return a candidate as the explain route shows it."""
        sfu = candidate.sfu
        return cls(
            address=sfu.address,
            region=sfu.region,
            verdict=candidate.verdict,
            state=sfu.state,
            reason=sfu.reason,
            hasCall=candidate.has_call,
            errors=sfu.errors,
            lastError=sfu.last_error,
            score=candidate.score,
            terms=Terms(
                sessions=sfu.sessions_term,
                cpu=sfu.cpu_term,
                memory=sfu.memory_term,
                promised=sfu.effective_load - sfu.load,
            ),
            sessions=sfu.sessions,
            reserved=sfu.reserved,
            maxSessions=sfu.max_sessions,
            group=candidate.group,
        )


class Explanation(Document):
    """A would-be placement."""

    hint: Hint
    groups: list[list[str]]
    """Groups of regions, in the order in which they are tried; `*` is the whole fleet."""
    answer: str = ""
    """Where the call goes, in a sentence or two."""
    candidates: list[ExplainedSfu]
    """Every SFU: the winner, the one that has or had the call, then the best first. Without a winner those that
    refuse the call come first.
    """

    @classmethod
    def of(cls, choice: "RegionChoice", explained: "Explained") -> "Explanation":
        """Return an explanation as the explain route shows it."""
        return cls(
            hint=Hint(**asdict(choice.hint)),
            groups=[list(group) for group in choice.groups],
            answer=explained.answer,
            candidates=[ExplainedSfu.of(candidate) for candidate in explained.candidates],
        )


class AddressOrder(Document):
    """Which SFU an order is about."""

    address: str
    """The address it registered with."""


class DrainOrder(AddressOrder):
    """An order to take no new channels."""

    deadlineMs: Annotated[int, Field(ge=0)] = 0  # noqa: N815
    """Milliseconds after which it keeps no calls either; 0: never."""
    move: bool = False
    """Whether Odoo is asked to move its calls to other SFUs now."""


class OrderDone(Document):
    """An order was carried out."""

    status: Literal["ok"]
    address: str


class StatusOk(Document):
    """All is well."""

    status: Literal["ok"]


class ResultOk(Document):
    """All is well, in an SFU's words."""

    result: Literal["ok"]


class Ready(StatusOk):
    """This replica can place channels."""

    mode: Literal["registry", "snapshot"]


class Problem(Document):
    """A problem document (RFC 9457). Callers may branch on `code`."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str
    code: str
    field: str | None = None
    """The field that is not valid, with `invalid_field`."""
    clockDifferenceSeconds: int | None = None  # noqa: N815
    """By how much the sender's clock is ahead of the gateway's, where a token is refused for its time."""
