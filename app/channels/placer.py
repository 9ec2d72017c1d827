"""Placing channels whether or not Redis answers: by the registry, else by this replica alone."""

import asyncio
from collections.abc import Sequence
from typing import Final

from app.channels.fallback import SnapshotPlacer
from app.crypto.tokens import Key
from app.errors import NoSfuAvailable, RegistryUnavailable
from app.logs import logger
from app.registry.availability import RegistryAvailability
from app.registry.placements import Busy, ConfirmedPlacement, ForwardOutcome, Placement, PlacementRequest
from app.registry.registry import Registry

log = logger(__name__)

_TRIES: Final = 4
"""A lost reply is asked for again, while Redis answers others; scripts know a repeated request by its id."""

_AT_ONCE: Final = 50
"""Confirmations that travel to Redis together."""


class Placer:
    """What the channel journey asks for an SFU."""

    def __init__(self, registry: Registry, local: SnapshotPlacer, switch: RegistryAvailability) -> None:
        """Take the registry, what stands in for it, and what decides between them."""
        self._registry = registry
        self._local = local
        self._switch = switch

    async def select(self, request: PlacementRequest) -> Placement | Busy:
        """Pick an SFU. Raises as `Registry.select` does, but never `RegistryUnavailable`."""
        for _ in range(_TRIES):
            if not self._switch.uses_registry:
                break
            asked_at = self._switch.now()
            try:
                answer = await self._registry.select(request)
            except RegistryUnavailable as error:
                self._switch.trip(error, asked_at)
            except NoSfuAvailable as refusal:
                await self._look_for_loss(refusal)
                if self._switch.uses_registry:
                    raise
            else:
                self._note(request, answer)
                return answer
        return self._local.select(request)

    async def _look_for_loss(self, refusal: NoSfuAvailable) -> None:
        """Read the fleet when the registry has lost its data since the snapshot: then its refusal means nothing.

        That is so when its epoch is another one. Refusals of the same moment share one reading.
        """
        epoch, asked_at = refusal.epoch, self._switch.now()
        try:
            if epoch is None:
                epoch = await self._registry.epoch()
        except RegistryUnavailable as error:
            self._switch.trip(error, asked_at)
        else:
            if epoch != self._switch.snapshot.epoch:
                await self._switch.refresh()

    def _note(self, request: PlacementRequest, answer: Placement | Busy) -> None:
        """Remember a call that the registry knows: while Redis is away it stays."""
        if isinstance(answer, Placement) and answer.reason == "sticky" and answer.uuid:
            self._remember(request.tenant, request.issuer, answer.address, answer.uuid)

    def _remember(self, tenant: str, issuer: str, address: str, uuid: str) -> ConfirmedPlacement:
        memory = self._local.memory
        call = ConfirmedPlacement(tenant, issuer, address, uuid, memory.now_ms)
        memory.remember(call)
        return call

    async def flush_offline(self) -> None:
        """Confirm what was placed without Redis, and all known calls when the registry has lost its data.

        Raises `RegistryUnavailable`; nothing is lost by that.
        """
        if await self._registry.epoch() != self._switch.snapshot.epoch:
            await self._confirm_all(self._local.memory.all())
        while calls := self._local.take_offline():  # confirming takes time, in which more is placed
            try:
                while calls:
                    await self._confirm(calls[-1])
                    calls.pop()
            finally:
                self._local.keep_offline(calls)

    async def _confirm_all(self, calls: Sequence[ConfirmedPlacement]) -> None:
        for start in range(0, len(calls), _AT_ONCE):
            await asyncio.gather(*map(self._confirm, calls[start : start + _AT_ONCE]))

    async def _confirm(self, call: ConfirmedPlacement) -> None:
        await self._registry.adopt(
            tenant=call.tenant,
            issuer=call.issuer,
            address=call.address,
            uuid=call.uuid,
            confirmed_at=call.confirmed_at,
        )

    async def report(self, report: ForwardOutcome) -> None:
        """Say how forwarding ended. Fails open: the channel exists whether or not it is counted."""
        for _ in range(_TRIES):
            if not self._switch.uses_registry:
                break
            asked_at = self._switch.now()
            try:
                await self._tell(report)
            except RegistryUnavailable as error:
                self._switch.trip(error, asked_at)
                log.warning("report_lost", sfu=report.address, detail=error.detail)
            else:
                return
        self._local.report(report)

    async def _tell(self, report: ForwardOutcome) -> None:
        if report.outcome != "created":
            await self._registry.report(report)
            return
        call = self._remember(report.tenant, report.issuer, report.address, report.uuid)
        if report.is_local:  # the registry came back meanwhile
            await self._confirm(call)
        else:
            await self._registry.report(report)

    def open_key(self, placement: Placement) -> Key:
        """Return the key of the placed SFU. Raises `UnsealError`."""
        return self._registry.open_key(placement)
