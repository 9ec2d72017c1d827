"""Placing channels whether or not Redis answers: by the registry, else by this replica alone."""

from dataclasses import asdict
from typing import Final

from app.channels.fallback import OfflinePlacement, SnapshotPlacer
from app.crypto.tokens import Key
from app.errors import NoSfuAvailable, RegistryUnavailable
from app.logs import logger
from app.registry.availability import RegistryAvailability
from app.registry.placements import Busy, ForwardOutcome, Placement, PlacementRequest
from app.registry.registry import Registry

log = logger(__name__)

_TRIES: Final = 4
"""A lost reply is asked for again, while Redis answers others; scripts know a repeated request by its id."""


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
                return await self._registry.select(request)
            except RegistryUnavailable as error:
                self._switch.trip(error, asked_at)
            except NoSfuAvailable:
                await self._switch.refresh()  # unless the registry has just lost its data, there is none
                if self._switch.uses_registry:
                    raise
        return self._local.select(request)

    async def flush_offline(self) -> None:
        """Tell the registry what was placed without it. Raises `RegistryUnavailable`; nothing is lost by that."""
        while learned := self._local.take_offline():  # telling takes time, in which more is placed
            try:
                while learned:
                    await self._registry.adopt(**asdict(learned[-1]))
                    learned.pop()
            finally:
                self._local.keep_offline(learned)

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
        if report.is_local and report.outcome == "created":  # the registry came back meanwhile
            learned = OfflinePlacement(report.tenant, report.issuer, report.address, report.uuid)
            await self._registry.adopt(**asdict(learned))
        else:
            await self._registry.report(report)

    def open_key(self, placement: Placement) -> Key:
        """Return the key of the placed SFU. Raises `UnsealError`."""
        return self._registry.open_key(placement)
