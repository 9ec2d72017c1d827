"""Random histories of a fleet: SFUs, replicas, an operator, a sweeper that may be absent, stalls, clock steps.

After every step each index holds what the facts say (`tests.lua.model`), every confirmed channel is where the later
confirmation said, and every call is listed under its SFU. When all falls quiet, no lock, permit, reservation or
intent is left.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from redis.asyncio import Redis

from app.errors import AddressLeased, NoSfuAvailable, Overloaded, UnknownSfu
from app.registry.losses import Loss, RescueResult
from app.registry.placements import (
    Busy,
    ConfirmedPlacement,
    ForwardOutcome,
    Outcome,
    Placement,
    PlacementRequest,
)
from app.registry.sfus import SfuReport
from app.rescue.announcer import loss_of
from tests.lua.fleet import KEY, OTHER_KEY, A, B, C, D, Fleet
from tests.lua.model import (
    JOIN_MS,
    LOCK_MS,
    MAX_SESSIONS,
    MOVING_MS,
    OPEN_MS,
    POLICY,
    THRESHOLD_MS,
    is_due,
    verdict,
)
from tests.support.calls import call_id
from tests.support.engines import Engine

T = TypeVar("T")

GONE = {"signed-off", "lost", "expired"}
EXAMPLES = {"fakeredis": 8, "redis": 20, "valkey": 8}
"""Redis has the search. The other two show that they run the same scripts, by the first of the same histories."""
STEPS = 40

ADDRESSES = st.sampled_from([A, B, C, D])
NAMES = ("one", "two", "three", "four")
ISSUERS = st.sampled_from(NAMES)
GROUPS = st.sampled_from([(("*",),), (("eu",), ("*",)), (("eu", "us"),), (("us",),)])
RESULTS: st.SearchStrategy[Outcome] = st.sampled_from(
    ["created", "created", "failed", "misconfigured", "unblamed"]
)
ANSWERS: st.SearchStrategy[RescueResult] = st.sampled_from(["moved", "kept", "p2p", "failed"])
REPORTS = st.builds(
    SfuReport,
    address=ADDRESSES,
    region=st.sampled_from(["eu", "eu", "us"]),
    key=st.sampled_from([KEY, KEY, KEY, OTHER_KEY]),
    sessions=st.sampled_from([0, 0, 1, MAX_SESSIONS - 1, MAX_SESSIONS]),
    max_sessions=st.just(MAX_SESSIONS),
    cpu=st.sampled_from([0.0, 0.0, 0.5, 1.0]),
    is_draining=st.sampled_from([False] * 5 + [True]),
    is_fresh=st.sampled_from([True, True, False]),
    instance=st.sampled_from(["", "", "first", "second"]),
)


@dataclass(frozen=True)
class Attempt:
    """An attempt whose outcome has not been recorded."""

    request: PlacementRequest
    placement: Placement


@dataclass(frozen=True)
class Channel:
    """Where an issuer's channel was confirmed last, and until when Odoo is asked to move it."""

    address: str
    generation: int
    moving_until: int = 0
    settled: frozenset[str] = frozenset()
    """The events for which Odoo has answered."""


class History(RuleBasedStateMachine):
    """Everybody does what they like."""

    def __init__(self) -> None:
        """An empty engine."""
        super().__init__()
        self.runner = asyncio.Runner()
        self.latest = 0
        self.fleet = Fleet(self.connect(), **POLICY)
        self.registry, self.keys = self.fleet.registry, self.fleet.keys
        self.do(self.fleet.client.flushall())
        self.open: list[Attempt] = []
        self.sent: list[PlacementRequest] = []
        self.recorded: list[ForwardOutcome] = []
        self.channels: dict[str, Channel] = {}
        self.winners: dict[str, str] = {}
        self.given_up: set[str] = set()
        self.requests = 0

    def teardown(self) -> None:
        """Close what was opened."""
        self.do(self.fleet.client.aclose())
        self.runner.close()

    def connect(self) -> Redis:
        """A client of the engine."""
        raise NotImplementedError

    def do(self, deed: Awaitable[T]) -> T:
        """Do something a millisecond later."""

        async def done() -> T:
            return await deed

        self.fleet.wait(1)
        self.latest = max(self.latest, self.fleet.now_ms)
        return self.runner.run(done())

    def facts(self, address: str) -> dict[str, str]:
        """What is stored of an SFU."""
        facts = self.do(self.fleet.client.hgetall(self.keys.node(address)))
        return {str(name): str(value) for name, value in facts.items()}

    @initialize()
    def begin(self) -> None:
        for address in (A, B, C, D):
            self.heartbeat(SfuReport(address, "eu", KEY, max_sessions=MAX_SESSIONS))

    # SFUs, time and the operator

    @rule(ms=st.sampled_from([100, 1_000, OPEN_MS, LOCK_MS, 5_000, 12_000, THRESHOLD_MS, -1_000, -60_000]))
    def time_passes(self, ms: int) -> None:
        self.fleet.wait(ms)

    @rule(reports=st.lists(REPORTS, min_size=1, max_size=3), times=st.sampled_from([1, 1, 2]))
    def some_report(self, reports: list[SfuReport], times: int) -> None:
        for report in reports * times:
            self.heartbeat(report)

    def heartbeat(self, report: SfuReport) -> None:
        """One heartbeat: a living SFU's address is refused to another key."""
        try:
            self.do(self.registry.registrations.heartbeat(report))
        except AddressLeased:
            state = self.do(self.registry.fleet.describe(report.address)).state
            assert state not in GONE

    @rule(
        address=ADDRESSES,
        order=st.sampled_from(["sign off", "forget", "reset", "resume", "drain", "drain soon", "move"]),
    )
    def operate(self, address: str, order: str) -> None:
        try:
            match order:
                case "sign off":
                    self.do(self.registry.registrations.sign_off(address, KEY))
                case "forget":
                    self.do(self.registry.fleet.forget(address))
                case "reset":
                    self.do(self.registry.fleet.reset(address))
                case "resume":
                    self.do(self.registry.fleet.resume(address))
                case _:
                    deadline_ms = 3_000 if order == "drain soon" else 0
                    self.do(self.registry.fleet.drain(address, deadline_ms=deadline_ms, move=order == "move"))
        except (UnknownSfu, AddressLeased):
            pass

    # Requests

    @rule(
        issuer=ISSUERS,
        groups=GROUPS,
        draw=st.floats(0, 1, exclude_max=True),
        preferred=st.one_of(st.just(""), ADDRESSES),
    )
    def ask(self, issuer: str, groups: tuple[tuple[str, ...], ...], draw: float, preferred: str) -> None:
        self.requests += 1
        self.fleet.draw = draw
        request_id = f"request {self.requests}"
        self.select(
            PlacementRequest(request_id, call_id(issuer), groups=groups, lock_ms=LOCK_MS, preferred=preferred)
        )

    @rule(data=st.data())
    def try_the_next(self, data: st.DataObject) -> None:
        """The next attempt, while the one before it is still under way, or after it has failed."""
        if not self.open:
            return
        attempt = data.draw(st.sampled_from(self.open))
        if data.draw(st.booleans()):
            self.finish(attempt, "failed", is_final=False)
        request = attempt.request
        self.select(
            replace(
                request,
                attempt=request.attempt + 1,
                exclude=(*request.exclude, attempt.placement.address),
            )
        )

    @rule(data=st.data())
    def a_call_runs_again(self, data: st.DataObject) -> None:
        """A select or an outcome that timed out is sent again, or runs late."""
        is_select: bool = data.draw(st.booleans())
        if self.sent and is_select:
            self.select(data.draw(st.sampled_from(self.sent)), is_repeated=True)
        elif self.recorded:
            outcome = data.draw(st.sampled_from(self.recorded))
            before = [self.facts(address).get("failures") for address in (A, B, C, D)]
            confirmed = self.do(self.registry.record_outcome(outcome))
            if outcome.result == "created":
                self.note(outcome, is_placed=confirmed.is_placed)
            else:
                assert before == [self.facts(address).get("failures") for address in (A, B, C, D)]

    def select(self, request: PlacementRequest, *, is_repeated: bool = False) -> None:
        """Place one attempt."""
        before = {address: self.facts(address) for address in (A, B, C, D)}
        try:
            answer = self.do(self.registry.select(request))
        except (NoSfuAvailable, Overloaded):
            return
        if isinstance(answer, Busy):
            return
        facts = before[answer.address]
        state = verdict(facts, self.fleet.now_ms).state
        if is_repeated:  # its own answer, whatever became of the SFU
            assert state not in GONE
            return
        assert state not in {"down", "expired", "drained"}
        if channel := self.channels.get(request.call.issuer):
            self.check_call(request, answer, channel, before)
        if answer.reason != "sticky":
            assert state in {"selectable", "half-open", "ejected"}
            is_last_resort = answer.reason == "last-resort"
            assert is_last_resort or verdict(facts, self.fleet.now_ms).tier == "load"
            if is_last_resort:
                assert not any(self.is_better(request, *other) for other in before.items())
        if answer.is_locked:
            self.sent.append(request)
            self.open.append(Attempt(request, answer))

    def check_call(
        self,
        request: PlacementRequest,
        answer: Placement,
        channel: Channel,
        before: dict[str, dict[str, str]],
    ) -> None:
        """A call stays on its SFU while that is in service or drains, unless Odoo is asked to move it."""
        facts, now = before[channel.address], self.fleet.now_ms
        if channel.address in request.exclude or facts.get("generation") != str(channel.generation):
            return
        if channel.moving_until <= now:
            stays = verdict(facts, now).state in {"selectable", "full", "overloaded", "draining"}
            assert not stays or answer.address == channel.address
        elif answer.address == channel.address and verdict(facts, now).tier != "load":
            assert not any(self.is_better(request, *other) for other in before.items())

    def is_better(self, request: PlacementRequest, address: str, facts: dict[str, str]) -> bool:
        """Whether an SFU that the request had to leave for the last resort was selectable, by its `facts` then."""
        if (
            not facts
            or address in request.exclude
            or is_due(facts, self.latest)
            or verdict(facts, self.fleet.now_ms).tier != "load"
        ):
            return False
        regions = {region for group in request.groups for region in group}
        return facts["region"] in regions or "*" in regions

    @rule(data=st.data(), result=RESULTS)
    def an_attempt_ends(self, data: st.DataObject, result: Outcome) -> None:
        if self.open:
            self.finish(data.draw(st.sampled_from(self.open)), result, is_final=True)

    def finish(self, attempt: Attempt, result: Outcome, *, is_final: bool) -> None:
        """Record an outcome."""
        self.open = [each for each in self.open if each is not attempt]
        request, placement = attempt.request, attempt.placement
        outcome = ForwardOutcome(
            request.id,
            request.call,
            placement,
            result,
            is_final,
            f"{request.call.issuer} at {placement.address}" if result == "created" else "",
            attempt=request.attempt,
        )
        confirmed = self.do(self.registry.record_outcome(outcome))
        self.recorded.append(outcome)
        if result == "created":
            self.note(outcome, is_placed=confirmed.is_placed)

    def note(self, outcome: ForwardOutcome, *, is_placed: bool) -> None:
        """Of one request the first attempt wins; of several the later confirmation."""
        issuer, placement = outcome.call.issuer, outcome.placement
        if is_placed:
            self.confirmed(issuer, placement.address, placement.generation)
            self.winners[issuer] = outcome.id
        else:
            assert self.winners[issuer] == outcome.id

    @rule(issuer=ISSUERS, address=ADDRESSES, age_ms=st.sampled_from([0, 500, 5_000]))
    def a_placement_without_redis_is_told(self, issuer: str, address: str, age_ms: int) -> None:
        self.requests += 1
        at, uuid = self.fleet.now_ms - age_ms, f"{issuer} at {address}"
        call = ConfirmedPlacement(call_id(issuer), address, uuid, at, id=f"offline {self.requests}")
        [confirmed] = self.do(self.registry.confirm(call))
        if confirmed.is_placed:
            self.confirmed(issuer, address, int(self.facts(address)["generation"]))
            self.winners[issuer] = call.id

    def confirmed(self, issuer: str, address: str, generation: int) -> None:
        """A channel that stays where it is stays announced; another one is news."""
        channel, known = Channel(address, generation), self.channels.get(issuer)
        self.given_up.discard(issuer)
        if known is None or (known.address, known.generation) != (address, generation):
            self.channels[issuer] = channel

    # Calls that lose their SFU, or are to leave it

    @rule(data=st.data(), moving_ms=st.sampled_from([1_000, MOVING_MS]))
    def odoo_is_told(self, data: st.DataObject, moving_ms: int) -> None:
        """An event concerns the calls that its SFU had then, but for those that Odoo has answered for."""
        losses = self.losses()
        if not losses:
            return
        loss = data.draw(st.sampled_from(losses))
        listed = self.do(self.registry.rescues.calls_of(loss.address))
        found = self.do(
            self.registry.rescues.find_calls(loss, listed, moving_ms=moving_ms if loss.lives else 0)
        )
        if found is None:
            assert loss.may_be_mass
            return
        concerned = {
            issuer
            for issuer, channel in self.channels.items()
            if channel.address == loss.address
            and channel.generation <= loss.generation
            and loss.event_id not in channel.settled
            and f"default:{issuer}" in listed
        }
        issuers = {call.name.removeprefix("default:") for call in found}
        assert issuers == concerned
        if loss.lives:
            until = self.fleet.now_ms + moving_ms
            for issuer in issuers:
                self.channels[issuer] = replace(self.channels[issuer], moving_until=until)

    @rule(data=st.data(), answer=ANSWERS)
    def odoo_answers(self, data: st.DataObject, answer: RescueResult) -> None:
        losses = self.losses()
        if not losses:
            return
        loss, issuer = data.draw(st.sampled_from(losses)), data.draw(ISSUERS)
        self.do(self.registry.rescues.settle_calls(loss, {f"default:{issuer}": answer}))
        channel = self.channels.get(issuer)
        if channel and channel.address == loss.address and channel.generation <= loss.generation:
            if loss.lives:
                settled = frozenset({loss.event_id})
                self.channels[issuer] = replace(channel, moving_until=0, settled=settled)
            else:
                self.given_up.add(issuer)

    def losses(self) -> list[Loss]:
        """What the newest events mean for calls."""
        events = self.do(self.registry.outbox.newest_events(20))
        return [loss for event in events if (loss := loss_of(*event)) is not None]

    @rule(data=st.data())
    def a_replica_dies(self, data: st.DataObject) -> None:
        if self.open:
            self.open.remove(data.draw(st.sampled_from(self.open)))

    # The sweeper

    @rule()
    def sweep(self) -> None:
        self.do(self.registry.sweeps.expire())
        self.do(self.registry.sweeps.reap())
        self.do(self.registry.sweeps.finish_drains())
        self.do(self.registry.sweeps.claim_probes(1_000))

    @rule(answered=st.booleans())
    def probe(self, answered: bool) -> None:
        for address in self.do(self.registry.sweeps.claim_probes(1_000)):
            self.do(self.registry.sweeps.probe(address, answered=answered))

    @rule()
    def all_falls_quiet(self) -> None:
        self.open.clear()
        self.fleet.wait(max(LOCK_MS, 60_000 * bool(self.do(self.fleet.client.zcard(self.keys.attempts)))))
        self.sweep()
        self.begin()
        self.fleet.wait(25 * JOIN_MS)
        self.begin()
        self.sweep()
        assert self.do(self.fleet.client.exists(self.keys.attempts, self.keys.drains)) == 0
        for status in self.do(self.registry.fleet.sfus()):
            assert status.state in GONE or 0 <= status.reserved < 1e-6
            assert not self.facts(status.address).get("permit")
        for issuer in NAMES:
            lock, moving = self.do(
                self.fleet.client.hmget(
                    self.keys.placement("default", issuer), "lock_expires_at", "moving_until"
                )
            )
            assert (lock or "0") == "0"
            assert int(moving or 0) <= self.fleet.now_ms

    # What is always true

    @invariant()
    def each_index_holds_what_the_facts_say(self) -> None:
        stored = {address: self.facts(address) for address in (A, B, C, D)}
        now = self.fleet.now_ms
        for tier in ("load", "ejected", "overloaded"):
            for region in (None, "eu", "us"):
                name = getattr(self.keys, tier)(region)
                members = set(self.do(self.fleet.client.zrange(name, 0, -1)))
                for address, facts in stored.items():
                    if facts and is_due(facts, self.latest):
                        continue
                    is_there = bool(facts) and verdict(facts, now).tier == tier
                    belongs = is_there and (region is None or facts["region"] == region)
                    assert (address in members) == belongs, (name, address, verdict(facts, now))
        settled = {address for address, facts in stored.items() if facts and not is_due(facts, self.latest)}
        in_rotation = set(self.do(self.fleet.client.zrange(self.keys.round_robin(), 0, -1))) & settled
        assert in_rotation == set(self.do(self.fleet.client.zrange(self.keys.load(), 0, -1))) & settled
        living = {address for address, facts in stored.items() if facts and not facts.get("down_at")}
        assert set(self.do(self.fleet.client.zrange(self.keys.deadlines, 0, -1))) == living

    @invariant()
    def the_scripts_say_what_the_facts_say(self) -> None:
        for status in self.do(self.registry.fleet.sfus()):
            facts = self.facts(status.address)
            if not is_due(facts, self.latest):
                assert (status.state, status.tier) == tuple(vars(verdict(facts, self.fleet.now_ms)).values())

    @invariant()
    def a_confirmed_channel_stays_where_it_is(self) -> None:
        for issuer, channel in self.channels.items():
            name = self.keys.placement("default", issuer)
            address, generation = self.do(self.fleet.client.hmget(name, "address", "generation"))
            if address is not None:
                assert (address, generation) == (channel.address, str(channel.generation))
            else:
                assert self.do(self.fleet.client.exists(name)) == 0

    @invariant()
    def each_call_is_listed_under_its_sfu(self) -> None:
        for address in (A, B, C, D):
            listed = set(self.do(self.registry.rescues.calls_of(address)))
            stored = self.facts(address)
            for issuer, channel in self.channels.items():
                is_there = f"default:{issuer}" in listed
                if is_there:
                    assert channel.address == address
                elif channel.address == address and not stored.get("down_at") and issuer not in self.given_up:
                    assert stored.get("generation") != str(channel.generation)

    @invariant()
    def each_change_was_said_once(self) -> None:
        for address in (A, B, C, D):
            said = [event.split()[0] for event in self.do(self.fleet.events(address))]
            told = [event for event in said if not event.startswith(("breaker", "address"))]
            repeated = {event for event, later in pairwise(told) if event == later}
            # An operator may order once more that calls move.
            assert repeated <= {"overloaded", "down", "draining", "restarted", "moving"}, told


def test_whatever_happens_the_state_is_one(engine: Engine) -> None:
    class HistoryOnEngine(History):
        def connect(self) -> Redis:
            return engine.connect()

    settings = hypothesis.settings(
        max_examples=EXAMPLES[engine.name],
        stateful_step_count=STEPS,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    run_state_machine_as_test(HistoryOnEngine, settings=settings)
