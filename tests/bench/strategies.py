"""Ways to choose an SFU for a call: ours by the real scripts, and those it must beat."""

import random
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from app.crypto.tokens import Key
from app.registry.placements import Busy, CallId, ForwardOutcome, PlacementRequest
from app.registry.registry import Registry
from app.registry.sfus import SfuReport
from tests.bench.traces import Sfu

_CPU_PER_LOAD: Final = 0.8
"""CPU usage of a full SFU; of memory it uses half that. Both lag behind as the other figures do."""


class View(Protocol):
    """What there is to know of a fleet, by number of the SFU."""

    sfus: tuple[Sfu, ...]
    sessions: list[int]
    """People in calls, now."""
    committed: list[int]
    """The same, with those who are still to join the calls that are placed."""
    channels: list[int]
    """Calls, now."""
    reported: list[int]
    """`sessions` at the SFU's last report."""
    reported_channels: list[int]
    """`channels` at the SFU's last report."""
    placed_since: list[int]
    """Calls placed on it since then."""
    known: list[int]
    """Numbers of the SFUs that have ever reported."""


class Strategy(Protocol):
    """Chooses SFUs. It hears of reports, and of nothing else unless it looks at the `View`."""

    async def report(self, number: int) -> None:
        """SFU `number` has reported; the view has its figures."""

    async def place(self) -> int:
        """Return the number of the SFU for a new call."""


class Even:
    """Round robin, or random: by capacity, so an SFU with double capacity gets twice as many calls."""

    def __init__(self, view: View, rng: random.Random, *, in_turn: bool) -> None:
        self._view = view
        self._rng = rng
        self._in_turn = in_turn
        self._ring: list[int] = []
        self._next = 0

    async def report(self, number: int) -> None:
        """Put a new SFU into the ring, as often as its capacity is worth."""
        if number in self._ring:
            return
        smallest = min(sfu.capacity for sfu in self._view.sfus)
        self._ring += [number] * (self._view.sfus[number].capacity // smallest)
        self._rng.shuffle(self._ring)

    async def place(self) -> int:
        """Return the next, or any."""
        if not self._in_turn:
            return self._rng.choice(self._ring)
        self._next = (self._next + 1) % len(self._ring)
        return self._ring[self._next]


class Lowest:
    """The lowest of some figure, relative to capacity; ties at random."""

    def __init__(self, view: View, rng: random.Random, figures: Callable[[], Sequence[float]]) -> None:
        self._view = view
        self._rng = rng
        self._figures = figures

    async def report(self, number: int) -> None:
        """Nothing to do: the view has it."""

    async def place(self) -> int:
        """Return the lowest of all known SFUs."""
        figures, sfus = self._figures(), self._view.sfus
        loads = [figures[number] / sfus[number].capacity for number in self._view.known]
        lowest = min(loads)
        tied = [number for number, load in zip(self._view.known, loads, strict=True) if load == lowest]
        return self._rng.choice(tied)


class TwoChoices:
    """Two SFUs at random, by capacity; the one with less of what is known (Mitzenmacher, 2001).

    In its strongest form: it counts its own placements since an SFU's report, each as an average call.
    """

    def __init__(self, view: View, rng: random.Random) -> None:
        self._view = view
        self._rng = rng
        self._draw = Even(view, rng, in_turn=False)

    async def report(self, number: int) -> None:
        """Make a new SFU one to be drawn."""
        await self._draw.report(number)

    async def place(self) -> int:
        """Return the better of two."""
        first, second = await self._draw.place(), await self._draw.place()
        return first if self._load(first) <= self._load(second) else second

    def _load(self, number: int) -> float:
        view = self._view
        per_call = sum(view.reported) / max(1, sum(view.reported_channels))
        estimate = view.reported[number] + view.placed_since[number] * per_call
        return estimate / view.sfus[number].capacity


class Scripts:
    """The gateway's own placement: `heartbeat.lua`, `select.lua` and `record_outcome.lua` by way of a Registry."""

    def __init__(self, view: View, registry: Registry) -> None:
        self._view = view
        self._registry = registry
        self._key = Key(b"k" * 32)
        self._numbers = {sfu.address: number for number, sfu in enumerate(view.sfus)}
        self._requests = 0

    async def report(self, number: int) -> None:
        """Send a heartbeat."""
        view, sfu = self._view, self._view.sfus[number]
        usage = view.sessions[number] / sfu.capacity
        await self._registry.registrations.heartbeat(
            SfuReport(
                address=sfu.address,
                region="simulated",
                key=self._key,
                channels=view.channels[number],
                sessions=view.sessions[number],
                max_sessions=sfu.capacity,
                cpu=_CPU_PER_LOAD * usage,
                memory=_CPU_PER_LOAD * usage / 2,
            )
        )

    async def place(self) -> int:
        """Ask for an SFU and say that the channel was created."""
        self._requests += 1
        request = PlacementRequest(
            id=f"request-{self._requests}", call=CallId("default", f"call-{self._requests}")
        )
        placement = await self._registry.select(request)
        assert not isinstance(placement, Busy)
        await self._registry.record_outcome(
            ForwardOutcome(
                request.id,
                request.call,
                placement,
                "created",
                uuid=request.call.issuer,
            )
        )
        return self._numbers[placement.address]
