"""Placing channels whether or not Redis answers: by the registry, else by this replica alone."""

from collections.abc import Iterable, Sequence
from typing import Final

from app.channels.fallback import SnapshotPlacer, confirmed_by
from app.channels.request_ids import logged_id
from app.crypto.tokens import Key
from app.errors import NoneSelectable, RegistryUnavailable
from app.logs import logger
from app.registry.availability import RegistryAvailability
from app.registry.placements import (
    Busy,
    Confirmed,
    ConfirmedPlacement,
    ForwardOutcome,
    Placement,
    PlacementRequest,
)
from app.registry.registry import Registry
from app.registry.snapshot import beginning_of

log = logger(__name__)

_TRIES: Final = 4
"""A lost reply is asked for again, while Redis answers others; scripts know a repeated request by its id."""

_AT_ONCE: Final = 100
"""Confirmations that are done with together; repeated ones change nothing."""


class Placer:
    """What the channel journey asks for an SFU."""

    def __init__(self, registry: Registry, local: SnapshotPlacer, switch: RegistryAvailability) -> None:
        self._registry = registry
        self._local = local
        self._switch = switch

    async def select(self, request: PlacementRequest) -> Placement | Busy:
        """Pick an SFU. Raises as `Registry.select` does, but never `RegistryUnavailable`."""
        for _ in range(_TRIES):
            if not self._switch.uses_registry:
                break
            try:
                answer = await self._switch.call(self._registry.select(request))
            except RegistryUnavailable:
                continue
            except NoneSelectable as refusal:
                await self._look_for_loss(refusal)
                if self._switch.uses_registry:
                    raise
            else:
                self._note(request, answer)
                return answer
        return self._local.select(request)

    async def _look_for_loss(self, refusal: NoneSelectable) -> None:
        """Read the fleet when the registry has lost its data since the snapshot: then its refusal means nothing.

        That is so when its data began at another time. Refusals of the same moment share one reading.
        """
        if beginning_of(refusal.epoch) != self._switch.snapshot.began_at:
            await self._switch.refresh()

    def _note(self, request: PlacementRequest, answer: Placement | Busy) -> None:
        """Remember a call that the registry knows: while Redis is away it stays."""
        if isinstance(answer, Placement) and answer.reason == "sticky" and answer.uuid:
            memory = self._local.memory
            memory.remember(
                ConfirmedPlacement(
                    tenant=request.tenant,
                    issuer=request.issuer,
                    address=answer.address,
                    uuid=answer.uuid,
                    confirmed_at=memory.now_ms,
                    generation=answer.generation,
                    caller=answer.caller,
                    channel_key_fingerprint=request.channel_key_fingerprint,
                    has_other_key=answer.has_other_key,
                    id=request.id,
                    is_limited=request.max_placements is not None,
                )
            )

    async def flush_offline(self) -> None:
        """Confirm what was placed without Redis, and all known calls when the registry has lost its data.

        Raises `RegistryUnavailable`; nothing is lost by that.
        """
        memory = self._local.memory
        if await self._registry.snapshots.began_at() != self._switch.snapshot.began_at:
            memory.forget_generations()
            calls = _owners_first(memory.all())
            for start in range(0, len(calls), _AT_ONCE):
                await self._confirm(calls[start : start + _AT_ONCE])
        while calls := _owners_first(
            self._local.take_offline()
        ):  # confirming takes time, in which more is placed
            try:
                while calls:
                    await self._confirm(calls[:_AT_ONCE])
                    del calls[:_AT_ONCE]
            finally:
                self._local.keep_offline(calls)

    async def _confirm(self, calls: Sequence[ConfirmedPlacement]) -> list[Confirmed]:
        memory = self._local.memory
        return await self._registry.confirm(*map(memory.dated, calls), now_ms=memory.now_ms)

    async def record_outcome(self, report: ForwardOutcome) -> None:
        """Say how forwarding ended. Fails open: the channel exists whether or not it is counted."""
        for _ in range(_TRIES):
            if not self._switch.uses_registry:
                break
            try:
                await self._switch.call(self._tell(report))
            except RegistryUnavailable as error:
                log.warning(
                    "report_lost", request_id=logged_id(report.id), sfu=report.address, detail=error.detail
                )
            else:
                return
        self._local.record_outcome(report)

    async def _tell(self, report: ForwardOutcome) -> None:
        if report.result == "created" and report.is_local:  # the registry came back meanwhile
            call = confirmed_by(report, self._local.memory.now_ms)
            [confirmed] = await self._confirm([call])
        else:
            confirmed = await self._registry.record_outcome(report)
            call = confirmed_by(report, self._local.memory.now_ms)
        if confirmed.is_placed:
            self._local.memory.remember(call)

    def open_key(self, placement: Placement) -> Key:
        """Return the key of the placed SFU. Raises `UnsealError`."""
        return self._registry.open_key(placement)


def _owners_first(calls: Iterable[ConfirmedPlacement]) -> list[ConfirmedPlacement]:
    """Where two channel keys share an issuer, the first that is confirmed has the issuer's own name."""
    return sorted(calls, key=lambda call: call.has_other_key)
