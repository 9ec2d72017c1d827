"""Troubles on demand: an SFU that breaks, a region that is flooded, a Redis that hangs.

A key causes one, or a script of them: `break@5s,flood:us-east@10s,mend@40s`.
"""

import asyncio
import os
import re
import sys
import termios
import time
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Protocol

from workers.simulator.faults import NoFault, Refuse, Status
from workers.simulator.fleet import Fleet
from workers.simulator.odoo import SimulatedOdoo
from workers.simulator.sfu import SimulatedSfu

FLOOD_S: Final = 20.0
HANG_S: Final = 15.0

KEYS: Final = {
    "b": ("break", "an SFU fails every call that it is sent"),
    "k": ("kill", "an SFU dies without a word"),
    "o": ("overload", "an SFU reports 97 % CPU"),
    "f": ("flood", f"a region has {FLOOD_S:g} s of very many calls"),
    "h": ("hang", f"Redis hangs for {HANG_S:g} s"),
    "a": ("add", "an SFU joins"),
    "m": ("mend", "everything is well again"),
}
TROUBLES: Final = frozenset(name for name, _ in KEYS.values())

_CUE: Final = re.compile(r"([a-z]+)(?::([A-Za-z0-9._-]+))?@(\d+(?:\.\d+)?)s?")


@dataclass(frozen=True, slots=True)
class Cue:
    """One trouble of a script: what, in which region (empty: any), and after how many seconds."""

    trouble: str
    region: str
    at_s: float


class RedisSwitch(Protocol):
    """A Redis that can be hung."""

    def hang(self) -> None:
        """Let it answer nobody, until `go_on`."""

    def go_on(self) -> None:
        """Let it answer again."""


def read_script(text: str) -> list[Cue]:
    """Return the cues of a script, by time. Raises `ValueError`, which names the part that is wrong."""
    cues = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _CUE.fullmatch(part)
        if match is None or match[1] not in TROUBLES:
            raise ValueError(
                f"{part!r} is none: give trouble[:region]@seconds of {', '.join(sorted(TROUBLES))}"
            )
        cues.append(Cue(match[1], match[2] or "", float(match[3])))
    return sorted(cues, key=lambda cue: cue.at_s)


class Stage:
    """A fleet, its Odoo and its Redis, to which things happen."""

    def __init__(
        self,
        fleet: Fleet,
        odoo: SimulatedOdoo | None,
        redis: RedisSwitch | None,
        *,
        say: Callable[[str], object],
        random: Random,
    ) -> None:
        """Without an `odoo` no region can be flooded, without a `redis` none can be hung."""
        self._fleet = fleet
        self._odoo = odoo
        self._redis = redis
        self._say = say
        self._random = random
        self._tasks: set[asyncio.Task[None]] = set()
        self._acts: dict[str, Callable[[str], Awaitable[str]]] = {
            "break": self._break,
            "kill": self._kill,
            "overload": self._overload,
            "flood": self._flood,
            "hang": self._hang,
            "add": self._add,
            "mend": self._mend,
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """At the end of the block, what is going on is over, and Redis answers."""
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self._redis is not None:
                self._redis.go_on()

    async def cause(self, trouble: str, region: str = "") -> None:
        """Cause a trouble and say what it is."""
        self._tell(await self._acts[trouble](region))

    async def play(self, script: Sequence[Cue]) -> None:
        """Cause the troubles of a script, each at its time."""
        started = asyncio.get_running_loop().time()
        for cue in script:
            await asyncio.sleep(started + cue.at_s - asyncio.get_running_loop().time())
            await self.cause(cue.trouble, cue.region)

    async def _break(self, region: str) -> str:
        victim = self._victim(region)
        if victim is None:
            return "no SFU is left to break"
        await victim.set_fault(Status(status=500, route="/v1/channel"))
        return f"{_named(victim)} breaks: it answers 500 to every call"

    async def _kill(self, region: str) -> str:
        victim = self._victim(region)
        if victim is None:
            return "no SFU is left to kill"
        victim.kill()
        await victim.set_fault(Refuse())
        return f"{_named(victim)} is dead: no connection, no heartbeat"

    async def _overload(self, region: str) -> str:
        victim = self._victim(region)
        if victim is None:
            return "no SFU is left to overload"
        figures = victim.figures()
        victim.fix_figures(figures.model_copy(update={"cpu_usage": 0.97}))
        return f"{_named(victim)} is overloaded: 97 % CPU"

    async def _flood(self, region: str) -> str:
        if self._odoo is None:
            return "nobody can flood a region: there is no key to sign calls with"
        region = region or self._random.choice(self._fleet.config.regions)
        self._begin(self._odoo.flood(region, FLOOD_S))
        return f"{region} is flooded with calls for {FLOOD_S:g} s"

    async def _hang(self, _: str) -> str:
        if self._redis is None:
            return "Redis cannot be hung: none was started here"
        self._redis.hang()
        self._begin(self._release(HANG_S))
        return f"Redis hangs for {HANG_S:g} s: it takes connections and answers nobody"

    async def _release(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self._redis is not None:
            self._redis.go_on()
        self._tell("Redis answers again")

    async def _add(self, region: str) -> str:
        sfu = await self._fleet.add(region or self._random.choice(self._fleet.config.regions))
        return f"{_named(sfu)} joins"

    async def _mend(self, _: str) -> str:
        if self._redis is not None:
            self._redis.go_on()
        for sfu in self._fleet.sfus:
            await sfu.set_fault(NoFault())
            sfu.fix_figures(None)
            sfu.speak()
        return "everything is well again"

    def _victim(self, region: str) -> SimulatedSfu | None:
        """A random SFU that nothing has happened to."""
        well = [
            sfu
            for sfu in self._fleet.sfus
            if region in ("", sfu.config.region)
            and isinstance(sfu.fault, NoFault)
            and not sfu.has_fixed_figures
        ]
        return self._random.choice(well) if well else None

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _tell(self, text: str) -> None:
        self._say(f"{time.strftime('%H:%M:%S')}  ** {text}")


def _named(sfu: SimulatedSfu) -> str:
    return f"{sfu.address} in {sfu.config.region}"


def key_help() -> list[str]:
    """Return a line for each key."""
    return [f"  {key}  {name:<9} {meaning}" for key, (name, meaning) in KEYS.items()] + ["  q  quit"]


@contextmanager
def keyboard(pressed: Callable[[str], object]) -> Iterator[None]:
    """Tell `pressed` of each key, where standard input is a terminal, inside the block."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()
    tty.setcbreak(descriptor)

    def read() -> None:
        for key in os.read(descriptor, 64).decode(errors="ignore"):
            pressed(key)

    loop.add_reader(descriptor, read)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
