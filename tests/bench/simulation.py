"""Runs one trace with one strategy: discrete events, no real time."""

import heapq
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from tests.bench.strategies import Strategy
from tests.bench.traces import CAPACITY, JOIN_WITHIN_MS, PEOPLE, REPORT_EVERY_MS, WARM_MS, Call, Trace

SAMPLE_EVERY_MS: Final = 1_000

Event: TypeAlias = Callable[..., Awaitable[None]]


@dataclass(slots=True)
class Outcome:
    """How even a fleet was, each second after the warm-up."""

    imbalance: list[float] = field(default_factory=list)
    """The highest load of an SFU over the load that all would have if it were spread evenly."""
    last_sfu: list[float] = field(default_factory=list)
    """Load of the last SFU, the newcomer if there is one, over the same."""
    placed_on_last_ms: list[int] = field(default_factory=list)
    """When it got calls."""


class Simulation:
    """One fleet in simulated time. It is the `View` that strategies have of it."""

    def __init__(self, trace: Trace) -> None:
        count = len(trace.sfus)
        self.now_ms = 0
        self.sfus = trace.sfus
        self.sessions = [0] * count
        self.committed = [0] * count
        self.channels = [0] * count
        self.reported = [0] * count
        self.reported_channels = [0] * count
        self.placed_since = [0] * count
        self._joining = [0] * count
        self._joining_at_ms = [0] * count
        self.known: list[int] = []
        self._trace = trace
        self._outcome = Outcome()
        self._events: list[tuple[int, int, Event, tuple[int, ...]]] = []
        self._added = 0

    async def run(self, strategy: Strategy) -> Outcome:
        """Let it all happen, with `strategy` to place the calls."""
        self._start()
        for call in self._trace.calls:
            await self._until(call.at_ms, strategy)
            await self._place(call, strategy)
        await self._until(self._trace.end_ms, strategy)
        return self._outcome

    def _start(self) -> None:
        for number, sfu in enumerate(self.sfus):
            self._at(sfu.first_report_ms, self._report, number)
        at_start = self.sfus[: self._trace.scenario.sfus]
        ring = [number for number, sfu in enumerate(at_start) for _ in range(sfu.capacity // CAPACITY)]
        for turn, call in enumerate(self._trace.running):
            self._begin(call, ring[turn % len(ring)])
        self._at(WARM_MS, self._sample)

    async def _until(self, time_ms: int, strategy: Strategy) -> None:
        while self._events and self._events[0][0] <= time_ms:
            self.now_ms, _, event, arguments = heapq.heappop(self._events)
            await event(strategy, *arguments)
        self.now_ms = time_ms

    def _at(self, time_ms: int, event: Event, *arguments: int) -> None:
        self._added += 1  # of events at one time the first added comes first
        heapq.heappush(self._events, (time_ms, self._added, event, arguments))

    async def _place(self, call: Call, strategy: Strategy) -> None:
        number = await strategy.place()
        self.placed_since[number] += 1
        if number == len(self.sfus) - 1:
            self._outcome.placed_on_last_ms.append(self.now_ms)
        self._joining[number] += 1
        self._joining_at_ms[number] += call.at_ms
        self._at(call.at_ms + JOIN_WITHIN_MS, self._joined, number, call.at_ms)
        self._begin(call, number)

    async def _joined(self, _: Strategy, number: int, at_ms: int) -> None:
        self._joining[number] -= 1
        self._joining_at_ms[number] -= at_ms

    @property
    def expected(self) -> list[float]:
        """`sessions` with those who are still to join, if every call were an average one."""
        return [
            people + PEOPLE * (count - (count * self.now_ms - at_ms) / JOIN_WITHIN_MS)
            for people, count, at_ms in zip(self.sessions, self._joining, self._joining_at_ms, strict=True)
        ]

    def _begin(self, call: Call, number: int) -> None:
        self.channels[number] += 1
        self.committed[number] += call.size
        for join_ms in call.joins_ms:
            self._at(join_ms, self._join, number)
        self._at(call.end_ms, self._end, number, call.size)

    async def _join(self, _: Strategy, number: int) -> None:
        self.sessions[number] += 1

    async def _end(self, _: Strategy, number: int, size: int) -> None:
        self.channels[number] -= 1
        self.sessions[number] -= size
        self.committed[number] -= size

    async def _report(self, strategy: Strategy, number: int) -> None:
        if self.now_ms == self.sfus[number].first_report_ms:
            self.known.append(number)
        self.reported[number] = self.sessions[number]
        self.reported_channels[number] = self.channels[number]
        self.placed_since[number] = 0
        await strategy.report(number)
        self._at(self.now_ms + REPORT_EVERY_MS, self._report, number)

    async def _sample(self, _: Strategy) -> None:
        even = sum(self.sessions) / sum(self.sfus[number].capacity for number in self.known)
        loads = [people / sfu.capacity for people, sfu in zip(self.sessions, self.sfus, strict=True)]
        self._outcome.imbalance.append(max(loads) / even)
        self._outcome.last_sfu.append(loads[-1] / even)
        self._at(self.now_ms + SAMPLE_EVERY_MS, self._sample)
