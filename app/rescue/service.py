"""The rescue of calls: work of the sweeper that has the lease, beside its sweep."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from app.background import in_background
from app.errors import RegistryUnavailable
from app.logs import logger
from app.registry.registry import Registry
from app.rescue.announcer import Announcer
from app.rescue.odoo_queue import Pace
from app.rescue.sfu_watch import SfuWatch
from app.rescue.targets import Targets
from app.settings.model import Settings
from app.upstream.client import Forwarder

log = logger(__name__)

_TICK_S: Final = 0.25


class Rescue:
    """Detects dead SFUs early, and announces their calls to Odoo."""

    def __init__(
        self, registry: Registry, sfus: Forwarder, targets: Targets, pace: Pace, unreachable_after_s: float
    ) -> None:
        """`sfus` reaches SFUs. The client for Odoos is a second one, which reaches the allowed Odoos only."""
        self._registry = registry
        self._sfus = sfus
        self._targets = targets
        self._pace = pace
        self._unreachable_after_s = unreachable_after_s

    @classmethod
    def from_settings(cls, settings: Settings, registry: Registry, sfus: Forwarder) -> Self | None:
        """Return the rescue that `settings` describe; `None` without an allowed Odoo."""
        if not settings.has_rescue:
            return None
        rescue = settings.rescue
        pace = Pace(calls_per_second=rescue.calls_per_second)
        return cls(registry, sfus, Targets.from_settings(settings), pace, rescue.unreachable_after_s)

    @asynccontextmanager
    async def running(
        self, name: str, leads: Callable[[], bool], on_end: Callable[[], object] | None = None
    ) -> AsyncIterator[None]:
        """Work in the background for as long as the block runs, while the sweeper `name` has the lease."""
        async with Forwarder(self._targets.guard) as odoos:
            announcer = Announcer(self._registry, odoos, self._targets, self._pace, name=name)
            watch = SfuWatch(self._registry, self._sfus, self._unreachable_after_s)
            announcing = while_leading(leads, announcer.step, announcer.stop)
            watching = while_leading(leads, watch.step, watch.stop)
            async with in_background(announcing, on_end), in_background(watching, on_end):
                yield


async def while_leading(
    leads: Callable[[], bool], step: Callable[[], Awaitable[Any]], stop: Callable[[], Awaitable[None]]
) -> None:
    """Repeat `step`. Call `stop` when another sweeper has the lease, and at the end. While Redis is away, wait."""
    is_working = False
    try:
        while True:
            try:
                was_working, is_working = is_working, leads()
                if is_working:
                    is_working = await step() is not False
                    was_working = True
                if was_working and not is_working:
                    await stop()
            except RegistryUnavailable:
                log.debug("rescue_waits_for_redis")
            await asyncio.sleep(_TICK_S)
    finally:
        await stop()
