"""The channel journey: select an SFU, forward, report; on failure the next best, within one deadline."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from app.auth.tenants import Caller
from app.channels.observer import NullObserver, Observer
from app.channels.placer import Placer
from app.channels.retry_budget import RetryBudget
from app.channels.single_flight import SingleFlight
from app.crypto.sealing import UnsealError
from app.crypto.tokens import SFU_TOKEN_LIFE_SECONDS
from app.errors import (
    AllSfusFailed,
    DeadlineExceeded,
    NoSfuAvailable,
    Overloaded,
    RequestRefusedBySfu,
)
from app.logs import logger
from app.registry.placements import Busy, ForwardOutcome, Outcome, Placement, PlacementRequest
from app.settings.model import FailoverSettings
from app.upstream.client import Channel, Forwarder, ForwardError, OwnFault

log = logger(__name__)

_HOLD_MARGIN_MS: Final = 100
_FIRST_WAIT_S: Final = 0.005
_LONGEST_WAIT_S: Final = 0.05


class KeyUnreadable(OwnFault):
    """This replica lacks the sealing key that another one has: during a rotation, and not the SFU's fault."""


@dataclass(frozen=True, slots=True)
class ChannelRequest:
    """One verified request of Odoo's."""

    id: str
    """Unique: two requests never hold a placement under one id, whatever their callers call them."""
    caller: Caller
    groups: tuple[tuple[str, ...], ...]
    client: str
    """The address of the caller, as the SFU is to see it."""
    query: str = ""
    """As it is passed on to the SFU."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A created channel, where it is and how it got there."""

    channel: Channel
    placement: Placement
    attempts: int


@dataclass(slots=True)
class _Attempts:
    """What one request has tried so far."""

    request: ChannelRequest
    deadline: float
    failures: list[tuple[Placement, ForwardError]] = field(default_factory=list)

    @property
    def tried(self) -> tuple[str, ...]:
        return tuple(placement.address for placement, _ in self.failures)


class Channels:
    """Places channel requests on SFUs."""

    def __init__(
        self,
        placer: Placer,
        forwarder: Forwarder,
        failover: FailoverSettings,
        *,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        observer: Observer | None = None,
    ) -> None:
        """Take who picks SFUs, how they are reached, how hard to try, and clocks in seconds."""
        self._placer = placer
        self._forwarder = forwarder
        self._failover = failover
        self._wall_clock = wall_clock
        self._observer = observer or NullObserver()
        self._gate = SingleFlight()
        self._budget = RetryBudget(monotonic)

    async def create(self, request: ChannelRequest) -> Placed:
        """Create a channel for `request` on the best SFU that will.

        Raises:
            ChannelNotPlaced: its subclasses say why there is none.
            TenantLimitReached: the tenant has all the channels it may have.
        """
        deadline = asyncio.get_running_loop().time() + self._failover.deadline_ms / 1000
        attempts = _Attempts(request, deadline)
        caller = request.caller
        async with self._gate.passing((caller.tenant.name, caller.issuer), until=deadline) as turn:
            self._budget.deposit()
            for number in range(1, self._failover.max_retries + 1):
                if number > 1 and not self._budget.withdraw():
                    break
                with self._observer.phase("select"):
                    placement = await self._select(attempts, number)
                if placement is None:
                    break
                if not placement.is_held:
                    turn.let_others_pass()
                try:
                    with self._observer.phase("forward"):
                        channel = await self._forward(attempts, placement, number)
                except ForwardError as error:
                    await self._failed(attempts, placement, error)
                    continue
                self._observer.placed(placement.region, placement.reason, number)
                await self._created(attempts, placement, channel)
                return Placed(channel, placement, number)
            return await self._give_up(attempts)

    async def _select(self, attempts: _Attempts, number: int) -> Placement | None:
        """The next SFU to try; `None` when there is none left after at least one failed."""
        request, caller = attempts.request, attempts.request.caller
        wait_s = _FIRST_WAIT_S
        while (remaining := attempts.deadline - asyncio.get_running_loop().time()) > 0:
            try:
                answer = await self._placer.select(
                    PlacementRequest(
                        id=request.id,
                        issuer=caller.issuer,
                        tenant=caller.tenant.name,
                        attempt=number,
                        groups=request.groups,
                        exclude=attempts.tried,
                        hold_ms=int(remaining * 1000) + _HOLD_MARGIN_MS,
                        allow=caller.tenant.region_allow,
                        max_channels=caller.tenant.max_channels,
                        caller=request.client,
                    )
                )
            except (NoSfuAvailable, Overloaded):
                if attempts.failures:
                    return None
                raise
            if not isinstance(answer, Busy):
                return answer
            await asyncio.sleep(min(wait_s, answer.wait_ms / 1000 + 0.001, remaining))
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        if attempts.failures:
            return None
        raise DeadlineExceeded("another request for the same channel took all the time there was")

    async def _forward(self, attempts: _Attempts, placement: Placement, number: int) -> Channel:
        request = attempts.request
        try:
            key = self._placer.open_key(placement)
        except UnsealError as error:
            raise KeyUnreadable("has a key that this replica cannot unseal") from error
        claims = request.caller.claims | {"exp": int(self._wall_clock()) + SFU_TOKEN_LIFE_SECONDS}
        return await self._forwarder.create_channel(
            placement.address,
            token=key.sign(claims),
            client=placement.caller or request.client,
            public_url=placement.public_url,
            query=request.query,
            timeout_s=self._time_for(attempts, number),
        )

    def _time_for(self, attempts: _Attempts, number: int) -> float:
        """Seconds for one attempt: half of what is left, so that a hanging SFU leaves time for the next."""
        remaining = max(0.0, attempts.deadline - asyncio.get_running_loop().time())
        is_last = number == self._failover.max_retries
        return min(self._failover.retry_timeout_ms / 1000, remaining if is_last else remaining / 2)

    async def _created(self, attempts: _Attempts, placement: Placement, channel: Channel) -> None:
        if placement.is_held or channel.uuid != placement.uuid:
            await self._report(attempts, placement, "created", is_final=True, uuid=channel.uuid)
        for failed, error in attempts.failures:
            if error.status is not None:
                await self._report(attempts, failed, _fault_of(error))

    async def _failed(self, attempts: _Attempts, placement: Placement, error: ForwardError) -> None:
        """Note a failure. One that cannot be the request's fault is reported at once.

        What an SFU answered may be the request's own doing: that is known only when another SFU has answered.
        """
        attempts.failures.append((placement, error))
        self._observer.forward_failed(placement.region)
        log.warning("sfu_failed", request_id=attempts.request.id, sfu=placement.address, detail=str(error))
        if error.status is None:
            is_ours = isinstance(error, OwnFault)
            await self._report(attempts, placement, "unblamed" if is_ours else "failed")
        elif _is_refusal(error.status):
            await self._report(attempts, placement, "unblamed", is_final=True)
            raise RequestRefusedBySfu(f"the SFU answered {error.status}")

    async def _give_up(self, attempts: _Attempts) -> Placed:
        statuses = [error.status for _, error in attempts.failures]
        is_poisonous = len(statuses) > 1 and statuses[0] is not None and len(set(statuses)) == 1
        last, _ = attempts.failures[-1]  # the one that this request holds
        for placement, error in attempts.failures:
            if error.status is not None:
                outcome: Outcome = "unblamed" if is_poisonous else _fault_of(error)
                await self._report(attempts, placement, outcome, is_final=placement is last)
            elif placement is last:
                await self._report(attempts, placement, "unblamed", is_final=True)
        if asyncio.get_running_loop().time() >= attempts.deadline:
            raise DeadlineExceeded(f"{len(statuses)} SFUs were tried until time ran out")
        raise AllSfusFailed(f"{len(statuses)} SFUs were tried, each of them failed")

    async def _report(
        self,
        attempts: _Attempts,
        placement: Placement,
        outcome: Outcome,
        *,
        is_final: bool = False,
        uuid: str = "",
    ) -> None:
        caller = attempts.request.caller
        report = ForwardOutcome(
            id=attempts.request.id,
            tenant=caller.tenant.name,
            issuer=caller.issuer,
            address=placement.address,
            outcome=outcome,
            is_final=is_final,
            uuid=uuid,
            is_local=placement.is_local,
        )
        with self._observer.phase("report"):
            await self._placer.report(report)


def _is_refusal(status: int) -> bool:
    """A 4xx that is about the request, not about the key we signed with."""
    return 400 <= status < 500 and status not in (401, 403, 408, 429)


def _fault_of(error: ForwardError) -> Outcome:
    return "misconfigured" if error.status in (401, 403) else "failed"
