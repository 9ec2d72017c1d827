"""A fleet under load, with troubles by script or by key, until it is over."""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from app.crypto.tokens import Key
from app.settings.model import Settings
from workers.simulator.channels import People
from workers.simulator.fleet import Fleet, FleetConfig
from workers.simulator.odoo import SimulatedOdoo
from workers.simulator.stage import KEYS, Cue, RedisSwitch, Stage, key_help, keyboard

_TALLY_S: Final = 5.0
_TROUBLED_PEOPLE: Final = People(per_channel=5.0, join_seconds=8.0, stay_seconds=120.0)
_TROUBLED_SESSIONS: Final = 120
"""What each SFU of a troubled fleet holds: few, so that load is seen to move."""


@dataclass(frozen=True, slots=True)
class Play:
    """What is shown: how many SFUs, how many new calls a minute, for how long (0: until interrupted), which troubles.

    With `takes_keys`, keys cause troubles too.
    """

    sfus: int
    calls_per_minute: float
    duration_s: float = 0
    script: Sequence[Cue] = ()
    takes_keys: bool = False

    @property
    def is_troubled(self) -> bool:
        """Whether anything can go wrong."""
        return bool(self.script) or self.takes_keys


async def simulate(
    play: Play,
    gateways: tuple[str, ...],
    regions: tuple[str, ...],
    settings: Settings,
    say: Callable[[str], object],
) -> None:
    """Let a fleet report to `gateways`, and an Odoo ask them, with the keys of the `settings`."""
    key = settings.key[0] if settings.key else None
    registration_key = settings.registration.key[0] if settings.registration.key else None
    if key is None:
        say("Nobody calls: SFU_GATEWAY_KEY is not set.")
    if registration_key is None:
        say("Heartbeats are not signed: SFU_GATEWAY_REGISTRATION__KEY is not set.")
    if play.takes_keys:
        for line in ["Keys:", *key_help(), ""]:
            say(line)
    config = FleetConfig(
        count=play.sfus,
        regions=regions,
        gateway_urls=gateways,
        registration_key=registration_key,
        proxy=True,
    )
    await perform(config, play, key, None, say)


async def perform(
    config: FleetConfig, play: Play, key: Key | None, redis: RedisSwitch | None, say: Callable[[str], object]
) -> None:
    """Run the fleet, its calls and its troubles. Without a `key` nobody calls."""
    done = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, done.set)
    dice = Random(config.seed)  # noqa: S311 - troubles, no secret
    if play.is_troubled:
        config = replace(
            config, people=_TROUBLED_PEOPLE, max_sessions=config.max_sessions or _TROUBLED_SESSIONS
        )
    async with Fleet(config) as fleet:
        told = None if play.is_troubled else _teller(say)
        odoo = SimulatedOdoo(config.gateway_urls, key, dice, told) if key else None
        stage = Stage(fleet, odoo, redis, say=say, random=dice)
        async with stage.running():
            if play.is_troubled:
                fleet.fill(_TROUBLED_SESSIONS // 8)
            await _act(play, odoo, stage, done, say)


async def _act(
    play: Play,
    odoo: SimulatedOdoo | None,
    stage: Stage,
    done: asyncio.Event,
    say: Callable[[str], object],
) -> None:
    tasks = [asyncio.create_task(stage.play(play.script))]
    if odoo is not None:
        tasks.append(asyncio.create_task(odoo.call_forever(play.calls_per_minute)))
        if play.is_troubled:
            tasks.append(asyncio.create_task(_sum_up(odoo, say)))
    with suppress(TimeoutError), ExitStack() as stack:
        if play.takes_keys:
            stack.enter_context(keyboard(lambda key: _press(key, stage, done, tasks)))
        async with asyncio.timeout(play.duration_s or None):
            await done.wait()
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended
    if odoo is not None and play.is_troubled:
        say(f"{time.strftime('%H:%M:%S')}  {odoo.tally}")


def _press(key: str, stage: Stage, done: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    if key == "q":
        done.set()
    elif key in KEYS:
        tasks.append(asyncio.create_task(stage.cause(KEYS[key][0])))


def _teller(say: Callable[[str], object]) -> Callable[[int, str], object]:
    return lambda number, where: say(f"{time.strftime('%H:%M:%S')}  call {number:>4}  ->  {where}")


async def _sum_up(odoo: SimulatedOdoo, say: Callable[[str], object]) -> None:
    while True:
        await asyncio.sleep(_TALLY_S)
        say(f"{time.strftime('%H:%M:%S')}  {odoo.tally}")
