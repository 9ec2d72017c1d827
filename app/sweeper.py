"""The sweeper: ends silent registrations, frees abandoned locks, probes ejected SFUs, publishes transitions.

Any number of sweepers may run. A script decides each transition, so it happens once, whichever sweeper runs the
script; the lease only saves work. Transitions go from the outbox stream to pub/sub as msgpack maps, in order, at
least once.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from app.background import in_background, repeated
from app.errors import RegistryUnavailable
from app.events.event import pack_event
from app.logs import logger
from app.registry.registry import Registry
from app.rescue.service import Rescue
from app.upstream.client import Forwarder

log = logger(__name__)

_TICK_S: Final = 0.25
_LEASE_MS: Final = 1_500
_PROBE_TIMEOUT_S: Final = 2.0
_PROBE_LEASE_MS: Final = 5_000
_EVENTS_PER_READ: Final = 200


class Sweeper:
    """The work of one sweeper."""

    def __init__(
        self,
        registry: Registry,
        forwarder: Forwarder,
        *,
        name: str | None = None,
        rescue: Rescue | None = None,
        tick_s: float = _TICK_S,
        probe_timeout_s: float = _PROBE_TIMEOUT_S,
    ) -> None:
        """`name` tells sweepers apart. `rescue` runs beside the sweep while this sweeper has the lease."""
        self._registry = registry
        self._forwarder = forwarder
        self._tick_s = tick_s
        self._probe_timeout_s = probe_timeout_s
        self._name = name or secrets.token_hex(8)
        self._leads = False
        self._is_suspended = False
        self._rescue = rescue

    @asynccontextmanager
    async def running(self, on_end: Callable[[], object] | None = None) -> AsyncIterator[None]:
        """Sweep in the background for as long as the block runs.

        Probes run beside the sweep, so that an SFU that hangs delays nothing else.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(in_background(self._sweep_forever(), on_end))
            await stack.enter_async_context(
                in_background(repeated(self.probe, lambda: self._tick_s, RegistryUnavailable), on_end)
            )
            if self._rescue is not None:
                rescuing = self._rescue.running(self._name, lambda: self._leads, on_end)
                await stack.enter_async_context(rescuing)
            yield

    async def _sweep_forever(self) -> None:
        """Sweep until cancelled.

        While Redis is away nothing happens and nothing is lost.
        """
        was_away = False
        while True:
            try:
                await self.tick()
                if was_away:
                    log.info("redis_back")
                was_away = False
            except RegistryUnavailable as error:
                if not was_away:
                    log.warning("redis_away", detail=error.detail)
                was_away = True
            await asyncio.sleep(self._tick_s)

    async def tick(self) -> None:
        """Do what is due now, if this sweeper leads. Raises `RegistryUnavailable`."""
        leads = await self._registry.sweeps.acquire_lease(self._name, _LEASE_MS)
        if leads != self._leads:
            log.info("leading" if leads else "standing_by", sweeper=self._name)
            self._leads = leads
        if not leads:
            return
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

    async def probe(self) -> None:
        """Probe the SFUs whose ejection is over, if this sweeper leads. Raises `RegistryUnavailable`."""
        if not self._leads:
            return
        addresses = await self._registry.sweeps.claim_probes(_PROBE_LEASE_MS)
        await asyncio.gather(*(self._probe_one(address) for address in addresses))

    async def _probe_one(self, address: str) -> None:
        answered = await self._forwarder.probe(address, self._probe_timeout_s)
        state = await self._registry.sweeps.probe(address, answered=answered)
        log.info("probed", sfu=address, answered=answered, state=state)

    async def _relay(self) -> None:
        """Publish the transitions after the last published one."""
        last = await self._registry.outbox.cursor()
        while events := await self._registry.outbox.events_after(last, _EVENTS_PER_READ):
            for stream_id, fields in events:
                await self._registry.outbox.publish(pack_event(stream_id, fields))
                last = stream_id
            if not await self._registry.outbox.commit_cursor(self._name, last):
                return  # another sweeper has the lease now and goes on from the cursor
