"""The channel journey: select an SFU, forward, report; on failure the next best, within one deadline.

An SFU that has not answered within its share of the time stays asked while the next one is: the first channel
wins. The SFU of a failed attempt is blamed when another SFU served the same request (`app.channels.attempts`).
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from app.auth.tenants import Caller
from app.channels.attempts import Attempt, Attempts
from app.channels.observer import NullObserver, Observer
from app.channels.placer import Placer
from app.channels.retry_budget import RetryBudget
from app.channels.single_flight import SingleFlight, Turn
from app.crypto.sealing import UnsealError
from app.errors import DeadlineExceeded, InvalidField, NoSfuAvailable, Overloaded
from app.logs import logger
from app.registry.placements import Busy, ForwardOutcome, Outcome, Placement, PlacementRequest
from app.settings.model import FailoverSettings
from app.upstream.client import Channel, Forwarder, ForwardError

log = logger(__name__)

TOKEN_LIFE_SECONDS: Final = 60
"""Life of the tokens that SFUs get; Odoo's own have 30 s, clocks may differ a little."""

_HOLD_MARGIN_MS: Final = 100
_FIRST_WAIT_S: Final = 0.005
_LONGEST_WAIT_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class ChannelRequest:
    """One verified request of Odoo's."""

    id: str
    """Unique: two requests never hold a placement under one id, whatever their callers call them."""
    caller: Caller
    groups: tuple[tuple[str, ...], ...]
    client: str
    """The address of the caller, as the SFU is to see it."""
    query: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Placed:
    """A created channel, where it is and how it got there."""

    channel: Channel
    placement: Placement
    attempts: int


class Channels:
    """Places channel requests on SFUs. Leaving its context ends what requests have left open."""

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
        self._placer = placer
        self._forwarder = forwarder
        self._failover = failover
        self._wall_clock = wall_clock
        self._observer = observer or NullObserver()
        self._gate = SingleFlight()
        self._budget = RetryBudget(monotonic)
        self._tasks: dict[asyncio.Task[Placed] | asyncio.Task[None], Attempts] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._tasks:
            for attempts in self._tasks.values():
                attempts.abandon()
            await asyncio.wait(list(self._tasks))

    async def create(self, request: ChannelRequest) -> Placed:
        """Create a channel for `request` on the best SFU that will.

        A caller that leaves (a cancellation) does not stop the reports: locks and reservations are given back.

        Raises:
            ChannelNotPlaced: its subclasses say why there is none.
            TenantLimitReached: the tenant has all the channels it may have.
            InvalidField: the claims cannot be written into a token.
        """
        loop = asyncio.get_running_loop()
        attempts = Attempts(loop.time() + self._failover.deadline_ms / 1000)
        caller = request.caller
        async with self._gate.passing((caller.tenant.name, caller.issuer), until=attempts.deadline) as turn:
            self._budget.deposit()
            placing = loop.create_task(self._place(request, attempts, turn))
            self._keep(placing, attempts)
            try:
                return await asyncio.shield(placing)
            except asyncio.CancelledError:
                attempts.abandon()
                raise

    def _keep(self, task: "asyncio.Task[Placed] | asyncio.Task[None]", attempts: Attempts) -> None:
        self._tasks[task] = attempts
        task.add_done_callback(self._tasks.pop)

    async def _place(self, request: ChannelRequest, attempts: Attempts, turn: Turn) -> Placed:
        try:
            await self._ask_around(request, attempts, turn)
        finally:
            await self._settle(request, attempts)
        winner = attempts.winner
        channel = winner.channel if winner is not None else None
        if winner is None or channel is None:
            raise attempts.why_not_placed()
        self._observer.placed(winner.placement.region, winner.placement.reason, winner.number)
        return Placed(channel, winner.placement, len(attempts.all))

    async def _ask_around(self, request: ChannelRequest, attempts: Attempts, turn: Turn) -> None:
        """Ask one SFU after the other until one serves the request, or none is left, or the time is over."""
        loop = asyncio.get_running_loop()
        for number in range(1, self._failover.max_retries + 1):
            if number > 1 and not self._budget.withdraw():
                attempts.is_out_of_budget = True
                break
            with self._observer.phase("select"):
                attempt = await self._select(request, attempts)
            if attempt is None:
                if number > 1:
                    self._budget.put_back()
                break
            if not attempt.placement.is_held:
                turn.let_others_pass()
            await self._report_ended(request, attempts)
            if attempts.is_over():  # an earlier attempt was served meanwhile
                return
            attempt.task = loop.create_task(self._ask(request, attempt))
            with self._observer.phase("forward"):
                await attempts.wait(self._share_ends_at(attempts), for_attempt=attempt)
            if attempts.is_over() or attempts.is_refused:
                break
        with self._observer.phase("forward"):
            await attempts.wait(attempts.deadline)

    def _share_ends_at(self, attempts: Attempts) -> float:
        """When the next SFU is asked: after half of what is left, so that a hanging SFU leaves time for it."""
        if len(attempts.all) == self._failover.max_retries:
            return attempts.deadline
        return (asyncio.get_running_loop().time() + attempts.deadline) / 2

    async def _select(self, request: ChannelRequest, attempts: Attempts) -> Attempt | None:
        """The next SFU to ask; `None` when there is none beside those that were asked."""
        loop, caller = asyncio.get_running_loop(), request.caller
        wait_s = _FIRST_WAIT_S
        while (remaining := attempts.deadline - loop.time()) > 0 and not attempts.is_over():
            try:
                answer = await self._placer.select(
                    PlacementRequest(
                        id=request.id,
                        issuer=caller.issuer,
                        tenant=caller.tenant.name,
                        attempt=len(attempts.all) + 1,
                        groups=request.groups,
                        exclude=attempts.addresses,
                        hold_ms=int(remaining * 1000) + _HOLD_MARGIN_MS,
                        allow=caller.tenant.region_allow,
                        max_channels=caller.tenant.max_channels,
                    )
                )
            except (NoSfuAvailable, Overloaded):
                if attempts.all:
                    return None
                raise
            if not isinstance(answer, Busy):
                return attempts.add(answer)
            await self._report_ended(request, attempts)
            pause_s = min(wait_s, answer.wait_ms / 1000 + 0.001, remaining)
            await (attempts.wait(loop.time() + pause_s) if attempts.open else asyncio.sleep(pause_s))
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        if attempts.all or attempts.is_abandoned:
            return None
        raise DeadlineExceeded("another request for the same channel took all the time there was")

    async def _ask(self, request: ChannelRequest, attempt: Attempt) -> Channel | ForwardError:
        """Ask one SFU. It has all the time of a request, however late in this one it is asked."""
        placement = attempt.placement
        try:
            return await self._forward(request, placement)
        except ForwardError as error:
            self._observer.forward_failed(placement.region)
            log.warning("sfu_failed", request_id=request.id, sfu=placement.address, detail=str(error))
            return error

    async def _forward(self, request: ChannelRequest, placement: Placement) -> Channel:
        try:
            key = self._placer.open_key(placement)
        except UnsealError as error:  # another replica has the sealing key: during a rotation
            raise ForwardError("has a key that this replica cannot unseal", blame="never") from error
        claims = request.caller.claims | {"exp": int(self._wall_clock()) + TOKEN_LIFE_SECONDS}
        try:
            token = key.sign(claims)
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidField("token", "has a claim that cannot be written again") from error
        return await self._forwarder.create_channel(
            placement.address,
            token=token,
            client=request.client,
            public_url=placement.public_url,
            query=request.query,
            timeout_s=min(self._failover.retry_timeout_ms, self._failover.deadline_ms) / 1000,
        )

    async def _settle(self, request: ChannelRequest, attempts: Attempts) -> None:
        """Report the outcomes of a request that is over; what is still open is awaited in the background."""
        if attempts.winner is None or attempts.is_abandoned:
            await attempts.cancel_open()
        winner = attempts.find_winner()
        if winner is not None and winner.channel is not None:
            winner.is_reported = True
            channel, placement = winner.channel, winner.placement
            is_news = placement.is_held or channel.uuid != placement.uuid
            if is_news or len(attempts.all) > 1:  # a later attempt has moved the placement elsewhere
                await self._report(request, winner, "created", is_final=True, uuid=channel.uuid)
        await self._report_ended(request, attempts, is_over=True)
        if attempts.open:
            watching = asyncio.get_running_loop().create_task(self._await_late(request, attempts))
            self._keep(watching, attempts)

    async def _await_late(self, request: ChannelRequest, attempts: Attempts) -> None:
        """Report attempts that end after the caller has been answered."""
        while open_tasks := attempts.open:
            await asyncio.wait(open_tasks, return_when=asyncio.FIRST_COMPLETED)
            await self._report_ended(request, attempts, is_over=True)

    async def _report_ended(
        self, request: ChannelRequest, attempts: Attempts, *, is_over: bool = False
    ) -> None:
        """Report the attempts that have ended.

        While the request goes on, only those that need no witness; each is reported once. When the request
        `is_over` without a channel, the last report ends its lock.
        """
        ended = [attempt for attempt in attempts.all if not attempt.is_reported and not attempt.is_open]
        for attempt in ended:
            if not is_over and (attempt.error is None or attempt.error.blame == "with-witness"):
                continue
            attempt.is_reported = True
            if attempt.channel is not None:
                self._observer.channel_orphaned(attempt.placement.region)
                log.warning("channel_orphaned", request_id=request.id, sfu=attempt.placement.address)
            outcome = attempt.outcome(is_served=attempts.winner is not None)
            is_final = is_over and attempts.winner is None and attempt is ended[-1]
            await self._report(request, attempt, outcome, is_final=is_final)

    async def _report(
        self,
        request: ChannelRequest,
        attempt: Attempt,
        outcome: Outcome,
        *,
        is_final: bool,
        uuid: str = "",
    ) -> None:
        """Report an outcome.

        Fails open and counts: the other attempts are still to be reported, and a channel that exists is an answer.
        """
        placement = attempt.placement
        error = str(attempt.error or "")
        if outcome in ("failed", "misconfigured"):
            log.warning(
                "sfu_blamed", request_id=request.id, sfu=placement.address, outcome=outcome, detail=error
            )
        report = ForwardOutcome(
            id=request.id,
            tenant=request.caller.tenant.name,
            issuer=request.caller.issuer,
            address=placement.address,
            outcome=outcome,
            is_final=is_final,
            uuid=uuid,
            is_local=placement.is_local,
            attempt=attempt.number,
            error=error,
        )
        try:
            with self._observer.phase("report"):
                await self._placer.report(report)
        except Exception as defect:
            self._observer.report_failed(defect)
            log.exception("report_failed", request_id=request.id, sfu=placement.address)
