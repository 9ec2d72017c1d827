"""Placing channels whether or not Redis answers: by the registry, else by this replica alone.

Two replicas that are asked for one issuer choose the same SFU, also when only one of them reaches Redis in time:
while Redis is shaky, the replica gives select.lua the SFU that it would choose without Redis, and a replica that
gives Redis up chooses the same one. What a replica placed without Redis it tells Redis at once: a Redis that is too
slow for requests still tells the other replicas.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, TypeVar

from app.background import in_background
from app.channels.fallback import SnapshotPlacer
from app.channels.outbox import AT_ONCE
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

Answer = TypeVar("Answer")

_TRIES: Final = 4
"""A lost reply is asked for again, while Redis answers others; scripts know a repeated request by its id."""

_LAST_TRY: Final = 0.1
"""Of the time of a call, for the request that found Redis away: only its own reply may be lost, and another request
may have placed the issuer."""

_PAUSE_S: Final = 0.25


@dataclass(slots=True)
class RegistryWait:
    """How long one channel request may still wait for Redis, in all its calls together."""

    left_s: float
    lock_owner_asks: str = ""
    """The SFU that another request asks which places the same issuer, as far as Redis said so."""


class Placer:
    """What the channel journey asks for an SFU."""

    def __init__(
        self,
        registry: Registry,
        local: SnapshotPlacer,
        switch: RegistryAvailability,
        *,
        timeout_s: float = 0.25,
        patient: Registry | None = None,
    ) -> None:
        """`timeout_s` is the longest time of one call to the registry, `patient` is for background work."""
        self._registry = registry
        self._local = local
        self._switch = switch
        self._timeout_s = timeout_s
        self._patient = patient or registry

    def wait(self) -> RegistryWait:
        """Return what a new request may wait: a call that takes all its time, and a little for the others."""
        return RegistryWait(1.2 * self._timeout_s)

    async def select(self, request: PlacementRequest, wait: RegistryWait | None = None) -> Placement | Busy:
        """Pick an SFU. Raises as `Registry.select` does, but never `RegistryUnavailable`."""
        wait = wait or self.wait()
        was_lost = False
        for _ in range(_TRIES):
            if not self._may_ask(wait, was_lost=was_lost):
                break
            if self._switch.is_shaky:
                request = replace(request, preferred=self._local.preferred(request))
            left_s = wait.left_s
            try:
                answer = await self._call(self._registry.select(request), wait)
            except RegistryUnavailable:
                was_lost = True
            except NoneSelectable as refusal:
                was_lost = False
                await self._look_for_loss(refusal)
                if self._switch.uses_registry:
                    raise
            else:
                if isinstance(answer, Busy):  # the request waits for another one, and not for Redis
                    wait.left_s, wait.lock_owner_asks = left_s, answer.address
                else:
                    self._note(request, answer)
                    if not self._local.knows(answer.address):
                        self._switch.read_soon()
                return answer
        return self._local.select(request, wait.lock_owner_asks)

    def _may_ask(self, wait: RegistryWait, *, was_lost: bool) -> bool:
        """Whether the request may ask the registry; with Redis away, for a moment if its own last reply was lost."""
        if not self._switch.uses_registry:
            wait.left_s = min(wait.left_s, _LAST_TRY * self._timeout_s if was_lost else 0)
        return wait.left_s > 0

    async def _call(self, work: Awaitable[Answer], wait: RegistryWait) -> Answer:
        """Return what the registry answers within the time that is left. Raises `RegistryUnavailable`, as `work`."""
        asked_at = self._switch.now()
        try:
            if wait.left_s >= self._timeout_s:
                return await work
            async with asyncio.timeout(wait.left_s):
                return await work
        except RegistryUnavailable as error:
            self._switch.trip(error, asked_at)
            raise
        except TimeoutError as error:
            raise RegistryUnavailable("the request has waited for Redis long enough") from error
        finally:
            wait.left_s -= self._switch.now() - asked_at

    async def _look_for_loss(self, refusal: NoneSelectable) -> None:
        """Read the fleet when the registry has lost its data since the snapshot: then its refusal means nothing.

        That is so when its data began at another time. Refusals of the same moment share one reading.
        """
        if beginning_of(refusal.epoch) != self._switch.snapshot.began_at:
            await self._switch.refresh()

    def _note(self, request: PlacementRequest, answer: Placement) -> None:
        """Remember a call that the registry knows: while Redis is away it stays."""
        if answer.reason == "sticky" and answer.uuid:
            memory = self._local.memory
            memory.remember(
                ConfirmedPlacement.of(
                    request.call,
                    answer,
                    answer.uuid,
                    memory.now_ms,
                    request_id=request.id,
                    is_limited=request.max_placements is not None,
                )
            )

    # What was placed without Redis

    async def flush_offline(self) -> None:
        """Confirm what was placed without Redis, and all known calls when the registry has lost its data.

        Raises `RegistryUnavailable`; nothing is lost by that.
        """
        memory, outbox = self._local.memory, self._local.outbox
        if await self._registry.fleet.began_at() != self._switch.snapshot.began_at:
            memory.forget_generations()
            calls = memory.all()
            while known := list(islice(calls, AT_ONCE)):
                await self._confirm(self._registry, known)
        self._local.forget_marks()
        while batch := outbox.batch():  # confirming takes time, in which more is placed
            await self._confirm(self._registry, batch)
            outbox.drop(batch)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Tell Redis in the background what was placed without it, for as long as the block runs."""
        async with in_background(self._tell_forever()):
            yield

    async def _tell_forever(self) -> None:
        """Tell each call at once. While Redis is away, each is confirmed again on return: a failover may lose it."""
        outbox = self._local.outbox
        while True:
            calls = await outbox.next_untold()
            try:
                await self._confirm(self._patient, calls)
            except Exception as error:
                if not isinstance(error, RegistryUnavailable):  # a defect
                    log.exception("calls_untold")
                outbox.return_untold(calls)
                await asyncio.sleep(_PAUSE_S)
            else:
                if self._switch.uses_registry:
                    outbox.drop(calls)

    async def _confirm(self, registry: Registry, calls: Sequence[ConfirmedPlacement]) -> list[Confirmed]:
        return await registry.confirm(*map(self._local.memory.dated, calls))

    async def record_outcome(self, report: ForwardOutcome, wait: RegistryWait | None = None) -> bool:
        """Say how forwarding ended, or keep it while Redis is away. Fails open: the channel exists all the same.

        Returns whether that is done with; if not, the request has waited for Redis long enough.
        """
        wait = wait or self.wait()
        for _ in range(_TRIES):
            if not self._switch.uses_registry:
                break
            if wait.left_s <= 0:
                return False
            try:
                await self._call(self._tell(report), wait)
            except RegistryUnavailable as error:
                log.warning(
                    "report_lost",
                    request_id=logged_id(report.id),
                    sfu=report.placement.address,
                    detail=error.detail,
                )
            else:
                return True
        self.keep(report)
        return True

    def record_created(
        self, report: ForwardOutcome, then: Callable[[bool], None]
    ) -> asyncio.Future[Any] | None:
        """Say that a channel was created, with the next call to Redis; return what is then done.

        `then` is told whether Redis knows it. `None` where this takes `record_outcome`.
        """
        if not self._switch.uses_registry or report.placement.is_local:
            return None

        def recorded(confirmed: Confirmed | None) -> None:
            if confirmed is not None and confirmed.is_placed:
                self._local.memory.remember(report.confirmed(self._local.memory.now_ms))
            then(confirmed is not None)

        return self._registry.record_outcome_later(report, recorded)

    def keep(self, report: ForwardOutcome) -> None:
        """Note here what Redis could not be told."""
        self._local.record_outcome(report)

    async def _tell(self, report: ForwardOutcome) -> None:
        if report.result == "created" and report.placement.is_local:  # the registry came back meanwhile
            call = report.confirmed(self._local.memory.now_ms)
            [confirmed] = await self._confirm(self._registry, [call])
        else:
            confirmed = await self._registry.record_outcome(report)
            call = report.confirmed(self._local.memory.now_ms)
        if confirmed.is_placed:
            self._local.memory.remember(call)

    def open_key(self, placement: Placement) -> Key:
        """Return the key of the placed SFU. Raises `UnsealError`."""
        return self._registry.open_key(placement)
