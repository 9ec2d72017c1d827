"""Everything at once, in any order: the scripts beside a plain Python model (RELIABILITY R25)."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, TypeVar

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis

from app.errors import NoSfuAvailable, Overloaded, UnknownSfu
from app.events.event import read_event
from app.registry.placements import Busy, ForwardOutcome, Outcome, Placement, PlacementRequest
from app.registry.sfus import SfuReport
from tests.lua.fleet import KEY, A, B, C, D, Fleet
from tests.lua.model import (
    HOLD_MS,
    JOIN_MS,
    MAX_OPEN_MS,
    MAX_SESSIONS,
    OPEN_MS,
    POLICY,
    THRESHOLD_MS,
    Ask,
    Model,
)
from tests.support.engines import Engine

T = TypeVar("T")

EXAMPLES = {"fakeredis": 50, "redis": 20, "valkey": 20}
STEPS = 40

ADDRESSES = st.sampled_from([A, B, C, D])
NAMES = ("one", "two", "three", "four")
ISSUERS = st.sampled_from(NAMES)
GROUPS = st.sampled_from([(("*",),), (("eu",), ("*",)), (("eu", "us"),), (("us",),)])
FAILURES: st.SearchStrategy[Outcome] = st.sampled_from(["failed", "failed", "misconfigured", "unblamed"])
FATES: st.SearchStrategy[Outcome | None] = st.sampled_from(["created", "created", None, "failed", "unblamed"])
DRAWS = st.floats(0, 1, exclude_max=True)
REPORTS = st.builds(
    SfuReport,
    address=ADDRESSES,
    region=st.sampled_from(["eu", "eu", "us"]),
    key=st.just(KEY),
    sessions=st.sampled_from([0, 0, 1, MAX_SESSIONS - 1, MAX_SESSIONS]),
    max_sessions=st.just(MAX_SESSIONS),
    cpu=st.sampled_from([0.0, 0.0, 0.5, 1.0]),
    is_draining=st.sampled_from([False] * 5 + [True]),
    is_fresh=st.sampled_from([True, True, False]),
)


class Scripts(RuleBasedStateMachine):
    """SFUs, replicas, an operator and a sweeper, each doing what it likes."""

    def __init__(self) -> None:
        """An empty engine and an empty model."""
        super().__init__()
        self.runner = asyncio.Runner()
        self.fleet = Fleet(self.connect(), **POLICY)
        self.registry = self.fleet.registry
        self.model = Model()
        self.run(self.fleet.client.flushall())
        self.open: list[tuple[Ask, str]] = []
        self.requests = 0
        self.last_event = "0-0"
        self.told = 0

    def teardown(self) -> None:
        """Close what was opened."""
        self.run(self.fleet.client.aclose())
        self.runner.close()

    def connect(self) -> Redis:
        """A client of the engine."""
        raise NotImplementedError

    def run(self, deed: Awaitable[T]) -> T:
        """Do something a millisecond later."""

        async def done() -> T:
            return await deed

        self.fleet.wait(1)
        self.model.now = self.fleet.now_ms
        return self.runner.run(done())

    @initialize()
    def begin(self) -> None:
        self.all_report_idle()

    # SFUs and time

    @rule(ms=st.sampled_from([100, 500, 1_000, HOLD_MS, 5_000, 12_000, THRESHOLD_MS]))
    def time_passes(self, ms: int) -> None:
        self.fleet.wait(ms)

    @rule(reports=st.lists(REPORTS, min_size=1, max_size=3))
    def some_report(self, reports: list[SfuReport]) -> None:
        for report in reports:
            self.heartbeat(report)

    def heartbeat(self, report: SfuReport) -> None:
        """One heartbeat, answered as the model says."""
        was_there = report.address in self.model.lives
        answer = self.run(self.registry.heartbeat(report))
        self.model.beat(report)
        life = self.model.lives[report.address]
        expected = (not was_there, life.generation, life.state == "draining")
        assert (answer.is_new, answer.generation, answer.is_draining) == expected

    @rule()
    def all_report_idle(self) -> None:
        for address in (A, B, C, D):
            self.heartbeat(SfuReport(address, "eu", KEY, max_sessions=MAX_SESSIONS))

    @rule(address=ADDRESSES, order=st.sampled_from(["sign off", "forget", "resume", "drain", "drain soon"]))
    def operate(self, address: str, order: str) -> None:
        match order:
            case "sign off":
                removed = self.run(self.registry.sign_off(address, KEY))
                assert removed == self.model.end(address, "signed-off")
            case "forget":
                if self.is_done(self.registry.forget(address), address):
                    self.model.forget(address)
            case "resume":
                if self.is_done(self.registry.resume(address), address):
                    self.model.resume(address)
            case _:
                deadline_ms = 3_000 if order == "drain soon" else 0
                if self.is_done(self.registry.drain(address, deadline_ms=deadline_ms), address):
                    self.model.drain(address, deadline_ms)

    def is_done(self, order: Awaitable[None], address: str) -> bool:
        """Whether an order was carried out: it is when the SFU is known."""
        try:
            self.run(order)
        except UnknownSfu:
            assert address not in self.model.known
            return False
        assert address in self.model.known
        return True

    # Requests

    @rule(burst=st.lists(st.tuples(ISSUERS, GROUPS, DRAWS, FATES), min_size=1, max_size=5))
    def ask(self, burst: list[tuple[str, tuple[tuple[str, ...], ...], float, Outcome | None]]) -> None:
        for issuer, groups, draw, fate in burst:
            self.requests += 1
            self.fleet.draw = draw
            if self.select(Ask(f"request {self.requests}", issuer, groups)) and fate:
                self.report(*self.open.pop(), fate, is_final=True)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        ask, address = data.draw(st.sampled_from(self.open))
        pin = self.model.pins.get(ask.issuer)
        if pin and pin.holder == ask.id and pin.address == address and self.model.living(address):
            answer = self.send(ask)
            assert isinstance(answer, Placement)
            assert (answer.address, answer.is_held) == (address, True)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), outcome=st.one_of(st.just("created"), FAILURES))
    def finish(self, data: st.DataObject, outcome: Outcome) -> None:
        ask, address = self.take(data)
        self.report(ask, address, outcome, is_final=True)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), outcome=FAILURES)
    def try_the_next(self, data: st.DataObject, outcome: Outcome) -> None:
        ask, address = self.take(data)
        self.report(ask, address, outcome, is_final=False)
        further = replace(ask, attempt=ask.attempt + 1, exclude=(*ask.exclude, address))
        if not self.select(further):
            self.report(further, address, "unblamed", is_final=True)

    @rule(address=ADDRESSES, outcome=FAILURES, times=st.integers(1, 3))
    def strike(self, address: str, outcome: Outcome, times: int) -> None:
        nobody = Ask("nobody's request", "nobody", (("*",),))
        for _ in range(times):
            self.report(nobody, address, outcome, is_final=True)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        self.take(data)

    def take(self, data: st.DataObject) -> tuple[Ask, str]:
        """One of the requests that are being forwarded; it no longer is."""
        request = data.draw(st.sampled_from(self.open))
        self.open.remove(request)
        return request

    def select(self, ask: Ask) -> bool:
        """Place a request as the model says; whether it has an SFU now."""
        answer = self.send(ask)
        if isinstance(answer, Busy):
            assert answer.wait_ms == self.model.waits_ms(ask)
            return False
        assert self.model.waits_ms(ask) == 0
        kept = self.model.kept(ask)
        allowed, must = ({kept}, True) if kept else self.model.winners(ask)
        if answer is None:
            assert not must
            return False
        assert answer.address in allowed
        assert answer.address not in ask.exclude
        assert (answer.reason == "sticky") == (kept is not None)
        assert answer.is_held == (kept is None or not self.model.passes_freely(ask))
        if answer.is_held:
            self.model.place(ask, answer.address)
        self.open.append((ask, answer.address))
        return True

    def send(self, ask: Ask) -> Placement | Busy | None:
        """The scripts' answer."""
        request = PlacementRequest(
            ask.id, ask.issuer, attempt=ask.attempt, groups=ask.groups, exclude=ask.exclude, hold_ms=HOLD_MS
        )
        try:
            return self.run(self.registry.select(request))
        except (NoSfuAvailable, Overloaded):
            return None

    def report(self, ask: Ask, address: str, outcome: Outcome, *, is_final: bool) -> None:
        """Report to both."""
        self.fleet.draw = 0.0
        uuid = f"channel of {ask.issuer}"
        self.run(
            self.registry.report(
                ForwardOutcome(ask.id, "default", ask.issuer, address, outcome, is_final, uuid)
            )
        )
        self.model.report(ask, address, outcome, is_final=is_final)

    # The sweeper

    @rule()
    def sweep(self) -> None:
        self.run(self.registry.expire())
        self.model.expire()
        self.run(self.registry.reap())
        self.model.reap()

    @rule(answered=st.booleans(), ms=st.sampled_from([0, OPEN_MS]))
    def probe(self, answered: bool, ms: int) -> None:
        self.fleet.draw = 0.0
        self.fleet.wait(ms)
        claimed = self.run(self.registry.claim_probes(5_000))
        assert set(claimed) == self.model.claim(5_000)
        for address in claimed:
            self.run(self.registry.probe(address, answered=answered))
            self.model.probe(address, answered=answered)

    @rule(address=ADDRESSES)
    def go_on_trial(self, address: str) -> None:
        self.strike(address, "failed", 2)
        self.fleet.wait(MAX_OPEN_MS)
        self.all_report_idle()
        self.probe(answered=True, ms=0)

    @precondition(lambda self: self.requests > 5)
    @rule()
    def all_falls_quiet(self) -> None:
        self.open.clear()
        self.fleet.wait(HOLD_MS)
        self.sweep()
        assert self.run(self.fleet.client.zcard(self.fleet.keys.inflight)) == 0
        self.fleet.wait(25 * JOIN_MS)
        self.all_report_idle()
        for status in self.run(self.registry.fleet()):
            assert 0 <= status.reserved < 1e-9

    # What is always true

    @invariant()
    def every_sfu_is_as_the_model_says(self) -> None:
        living = [life for life in self.model.lives.values() if life.deadline > self.model.now]
        fields = ("region", "state", "breaker", "generation", "sessions", "drain_until", "reserved", "load")
        stored = self.read("hmget", *((self.fleet.keys.node(life.address), fields) for life in living))
        for life, (region, state, breaker, *figures) in zip(living, stored, strict=True):
            generation, sessions, drain_until, reserved, load = map(float, figures)
            assert (region, state) == (life.region, life.state)
            assert breaker == self.model.breaker(life.address).state
            assert (generation, sessions) == (life.generation, life.sessions)
            assert drain_until == life.drain_until
            assert abs(reserved - life.reserved) < 1e-6
            assert abs(load - life.load) < 1e-6
            assert min(reserved, load) >= 0
        [known] = self.read("hkeys", (self.fleet.keys.known,))
        assert set(known) == self.model.known

    @invariant()
    def the_load_index_holds_the_selectable(self) -> None:
        keys, lives = self.fleet.keys, self.model.lives.values()
        names = [keys.load(), keys.load("eu"), keys.load("us")]
        scored = [
            dict(entries) for entries in self.read("zrange", *((name, 0, -1, False, True) for name in names))
        ]
        everywhere, eu, us = map(set, scored)
        sure = {life.address for life in lives if self.model.must_be_listed(life)}
        fit = {life.address for life in lives if self.model.is_selectable(life)}
        stale = {life.address for life in lives if life.deadline <= self.model.now}
        assert sure <= everywhere <= fit | stale
        assert sure <= eu | us <= everywhere | stale
        assert not eu & us
        for scores in scored:
            for life in lives:
                if life.address in scores.keys() - stale:
                    assert abs(scores[life.address] - life.effective) < 1e-6

    @invariant()
    def the_sets_of_a_region_hold_its_sfus(self) -> None:
        keys = self.fleet.keys
        for region in ("eu", "us"):
            there = {address for address, life in self.model.lives.items() if life.region == region}
            members, ejected = self.read("smembers", (keys.members(region),), (keys.ejected(region),))
            assert (members, ejected) == (there, there & self.model.ejected)
        [deadlines] = self.read("zrange", (keys.deadlines, 0, -1))
        assert set(deadlines) == self.model.lives.keys()

    @invariant()
    def an_issuer_has_one_placement_and_one_holder(self) -> None:
        names = [self.fleet.keys.placement("default", issuer) for issuer in NAMES]
        stored = self.read("hmget", *((name, ["address", "holder"]) for name in names))
        pins = [self.model.pins.get(issuer) for issuer in NAMES]
        assert stored == [[pin.address, pin.holder] if pin else [None, None] for pin in pins]

    def read(self, command: str, *calls: tuple[Any, ...]) -> list[Any]:
        """The replies to several calls of a command, in one go."""
        pipeline = self.fleet.client.pipeline(transaction=False)
        for arguments in calls:
            getattr(pipeline, command)(*arguments)
        return self.run(pipeline.execute())

    @invariant()
    def each_transition_was_said_once(self) -> None:
        entries = self.run(self.registry.events_after(self.last_event, 1_000))
        events = [read_event(*entry) for entry in entries]
        told = [
            (event["type"], event["address"], event["reason"])
            for event in events
            if event["type"] not in {"overloaded", "drained"}
        ]
        assert told == self.model.events[self.told :]
        self.told += len(told)
        self.last_event = events[-1]["id"] if events else self.last_event


def test_the_scripts_do_what_the_model_does(engine: Engine) -> None:
    class ScriptsOnEngine(Scripts):
        def connect(self) -> Redis:
            return engine.connect()

    settings = hypothesis.settings(
        max_examples=EXAMPLES[engine.name],
        stateful_step_count=STEPS,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    run_state_machine_as_test(ScriptsOnEngine, settings=settings)
