"""What this replica last saw of the fleet: kept fresh in the background, never asked on a request's time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from app.errors import StoreUnavailable
from app.logs import logger
from app.registry import Registry, SfuStatus

log = logger(__name__)

_SHORTEST_PAUSE_S: Final = 1.0
_PAUSE_PER_READ: Final = 20
"""Reading a large fleet takes long; it is read less often, so that it never costs more than a twentieth."""


class FleetView:
    """The fleet as of the last successful read."""

    def __init__(self, registry: Registry) -> None:
        """Take the `registry` to read."""
        self._registry = registry
        self._sfus: Sequence[SfuStatus] = ()
        self._regions: frozenset[str] = frozenset()
        self.is_current = False
        """Whether the last read succeeded."""

    @property
    def sfus(self) -> Sequence[SfuStatus]:
        """Every SFU of the last successful read."""
        return self._sfus

    def regions(self) -> frozenset[str]:
        """Return the regions that had a living SFU."""
        return self._regions

    async def refresh(self) -> Sequence[SfuStatus]:
        """Read the fleet now. Raises `StoreUnavailable`."""
        try:
            self._sfus = await self._registry.fleet()
        except StoreUnavailable:
            self.is_current = False
            raise
        self.is_current = True
        self._regions = frozenset(sfu.region for sfu in self._sfus if sfu.state != "down")
        return self._sfus

    @asynccontextmanager
    async def kept_fresh(self) -> AsyncIterator[None]:
        """Refresh in the background for as long as the block runs."""
        task = asyncio.create_task(self._refresh_forever())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _refresh_forever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started, was_current = loop.time(), self.is_current
            try:
                await self.refresh()
            except StoreUnavailable as error:
                if was_current:
                    log.warning("store_lost", detail=error.detail)
            took = loop.time() - started
            await asyncio.sleep(max(_SHORTEST_PAUSE_S, took * _PAUSE_PER_READ))
