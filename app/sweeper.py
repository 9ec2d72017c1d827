"""The sweeper: ends silent lives, frees abandoned holds, probes open breakers, publishes transitions.

Any number may run. Each transition is decided by a script, so it happens once whoever runs it; the lease only
saves work. Transitions go from the outbox stream to pub/sub as msgpack maps, in order, at least once.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from app.background import in_background
from app.errors import RegistryUnavailable
from app.events.event import pack_event
from app.logs import logger
from app.registry.registry import Registry
from app.rescue.service import Rescue
from app.settings.model import Settings
from app.upstream.client import Forwarder

log = logger(__name__)

TICK_S: Final = 0.25
_LEASE_MS: Final = 1_500
_PROBE_TIMEOUT_S: Final = 2.0
_PROBE_LEASE_MS: Final = 5_000
_EVENTS_PER_READ: Final = 200


class Sweeper:
    """One sweeper process's work."""

    def __init__(
        self,
        registry: Registry,
        forwarder: Forwarder,
        *,
        patience_s: float,
        name: str | None = None,
        rescue: Rescue | None = None,
    ) -> None:
        """`name` tells sweepers apart; `rescue` goes on beside the sweep while this one leads."""
        self._registry = registry
        self._forwarder = forwarder
        self._patience_s = patience_s
        self._patient_until = 0.0
        self._name = name or secrets.token_hex(8)
        self._leads = False
        self._is_suspended = False
        self._rescue = rescue

    @asynccontextmanager
    async def running(self, on_end: Callable[[], object] | None = None) -> AsyncIterator[None]:
        """Sweep in the background for as long as the block runs.

        Probes go on beside the sweep: an SFU that hangs holds up nothing else.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(in_background(self._sweep_forever(), on_end))
            await stack.enter_async_context(in_background(self._probe_forever(), on_end))
            if self._rescue is not None:
                rescuing = self._rescue.running(self._name, lambda: self._leads, on_end)
                await stack.enter_async_context(rescuing)
            yield

    async def _sweep_forever(self) -> None:
        """Sweep until cancelled.

        While Redis is away nothing happens and nothing is lost. SFUs could not report meanwhile, so when it
        is back nobody's life ends before they have had the time to.
        """
        was_away = False
        self._patient_until = (
            asyncio.get_running_loop().time() + self._patience_s
        )  # who knows what was before
        while True:
            try:
                await self.tick()
                if was_away:
                    log.info("store_back", patience_s=self._patience_s)
                was_away = False
            except RegistryUnavailable as error:
                if not was_away:
                    log.warning("store_lost", detail=error.detail)
                was_away = True
                self._patient_until = asyncio.get_running_loop().time() + self._patience_s
            await asyncio.sleep(TICK_S)

    async def tick(self) -> None:
        """Do what is due now, if this sweeper leads. Raises `RegistryUnavailable`."""
        leads = await self._registry.sweeps.acquire_lease(self._name, _LEASE_MS)
        if leads != self._leads:
            log.info("leading" if leads else "standing_by", sweeper=self._name)
            self._leads = leads
        if not leads:
            return
        if asyncio.get_running_loop().time() >= self._patient_until:
            await self._expire()
        while (await self._registry.sweeps.reap()).has_more:
            pass
        while (await self._registry.sweeps.finish_drains()).has_more:
            pass
        await self._relay()

    async def _expire(self) -> None:
        while True:
            sweep = await self._registry.sweeps.expire()
            if sweep.addresses:
                log.warning("expired", sfus=sweep.addresses)
            if bool(sweep.expiry_suspended_until) != self._is_suspended:
                self._is_suspended = not self._is_suspended
                log.warning("expiry_suspended" if self._is_suspended else "expiry_resumed")
            if not sweep.has_more:
                return

    async def _probe_forever(self) -> None:
        while True:
            with contextlib.suppress(RegistryUnavailable):  # the sweep says so
                await self.probe()
            await asyncio.sleep(TICK_S)

    async def probe(self) -> None:
        """Probe the open breakers whose time is over, if this sweeper leads. Raises `RegistryUnavailable`."""
        if not self._leads:
            return
        addresses = await self._registry.sweeps.claim_probes(_PROBE_LEASE_MS)
        await asyncio.gather(*(self._probe_one(address) for address in addresses))

    async def _probe_one(self, address: str) -> None:
        answered = await self._forwarder.probe(address, _PROBE_TIMEOUT_S)
        state = await self._registry.sweeps.probe(address, answered=answered)
        log.info("probed", sfu=address, answered=answered, state=state)

    async def _relay(self) -> None:
        """Publish what has happened since the last event that was published."""
        last = await self._registry.outbox.cursor()
        while events := await self._registry.outbox.events_after(last, _EVENTS_PER_READ):
            for stream_id, fields in events:
                await self._registry.outbox.publish(pack_event(stream_id, fields))
                last = stream_id
            if not await self._registry.outbox.commit_cursor(self._name, last):
                return  # another sweeper leads now and goes on from the mark


def patience_of(settings: Settings) -> float:
    """Return the seconds in which every living SFU has reported once: an interval and a fifth."""
    return settings.next_ping_ms / 1000 * 1.2
