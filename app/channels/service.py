"""The channel journey: select an SFU, forward, report; on failure the next best, within one deadline.

An SFU that has not answered within its share of the time stays asked while the next one is: the first channel
wins, but for an SFU that has the call already, whose channel wins whenever it comes in time. The SFU of a failed
attempt is blamed when another SFU served the same request (`app.channels.attempts`).
"""

import asyncio
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from app.auth.tenants import Caller
from app.channels.attempts import Attempt, Attempts
from app.channels.observer import NullObserver, Observer
from app.channels.outcomes import Outcomes
from app.channels.placer import Placer
from app.channels.request_ids import logged_id
from app.channels.retry_budget import RetryBudget
from app.channels.single_flight import SingleFlight, Slot
from app.crypto.sealing import UnsealError
from app.crypto.tokens import SFU_TOKEN_LIFE_SECONDS
from app.errors import DeadlineExceeded, InvalidField, NoSfuAvailable, Overloaded
from app.logs import logger
from app.regions.choice import RegionChooser
from app.registry.placements import Busy, CallId, Placement, PlacementRequest
from app.settings.model import FailoverSettings
from app.timers import Timers
from app.upstream.client import Channel, Forwarder, ForwardError

log = logger(__name__)

_LOCK_MARGIN_MS: Final = 100
_SHARED: Final = "two databases have one issuer and different channel keys: docs/odoo.md, staging copies"
_FREE: Final = 2
"""SFUs that a request may always ask: one bad SFU must not cost a call that the next one serves. Further ones are
retries of the budget."""
_LOOK_S: Final = 0.01
"""How often a replica that stops looks for requests that have ended."""
_FIRST_WAIT_S: Final = 0.005
_LONGEST_WAIT_S: Final = 0.05


@dataclass(slots=True)
class ChannelRequest:
    """One verified request of Odoo's."""

    id: str
    """Unique: two requests never hold a placement under one id, whatever their callers call them."""
    caller: Caller
    client: str
    """The address of the caller, as the SFU is to see it."""
    query: str = ""
    """The part of the query that is passed on to the SFU."""
    region: str | None = None
    """The hints `region` and `country` of the query, and the region of the path."""
    country: str | None = None
    path: str | None = None
    note: Callable[..., None] = lambda **_: None
    """Adds fields to the log line of the request."""


@dataclass(slots=True)
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
        regions: RegionChooser,
        *,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        observer: Observer | None = None,
        on_created: Callable[[Placement, Channel, str, str], None] = lambda *_: None,
    ) -> None:
        """`on_created` is told of each channel: where, what, for which caller's address and which issuer."""
        self._placer = placer
        self._forwarder = forwarder
        self._failover = failover
        self._regions = regions
        self._wall_clock = wall_clock
        self._observer = observer or NullObserver()
        self._on_created = on_created
        self._gate = SingleFlight()
        self._budget = RetryBudget(monotonic)
        self._timers = Timers()
        self._open: set[Attempts] = set()
        """Of requests whose callers wait."""
        self._replies: dict[asyncio.Future[Any], Outcomes] = {}
        """Of requests that are over: reports on their way."""
        self._tasks: dict[asyncio.Task[None], Attempts] = {}
        """What else requests have left to do."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while not self.is_settled:
            for attempts in (*self._open, *self._tasks.values()):
                attempts.abandon()
            await asyncio.wait([*self._replies, *self._tasks, asyncio.ensure_future(asyncio.sleep(_LOOK_S))])

    @property
    def is_settled(self) -> bool:
        """Whether every request is over, and reported."""
        return not (self._open or self._replies or self._tasks)

    async def create(self, request: ChannelRequest) -> Placed:
        """Create a channel for `request` on the best SFU that will.

        The caller does not wait for the registry to hear of it: that is reported with the next pipeline. A caller
        that leaves (a cancellation) does not stop the reports: locks and reservations are given back.

        Raises:
            ChannelNotPlaced: its subclasses say why there is none.
            TenantLimitReached: the tenant has all the channels it may have.
            InvalidField: the claims cannot be written into a token.
        """
        caller = request.caller
        deadline = asyncio.get_running_loop().time() + self._failover.deadline_ms / 1000
        attempts = Attempts(deadline, self._timers, await self._groups_of(request))
        async with self._gate.passing((caller.tenant.name, caller.issuer), until=deadline) as slot:
            self._budget.deposit()
            outcomes = self._outcomes_of(request, attempts)
            self._open.add(attempts)
            try:
                return await self._place(request, attempts, outcomes, slot)
            except asyncio.CancelledError:
                attempts.abandon()
                raise
            finally:
                self._open.discard(attempts)
                self._settle(outcomes)

    async def _groups_of(self, request: ChannelRequest) -> tuple[tuple[str, ...], ...]:
        choice = await self._regions.choose(
            request.caller.tenant,
            request.client,
            region=request.region,
            country=request.country,
            path=request.path,
        )
        if choice.hint.ignored:
            self._observer.hint_ignored()
        request.note(region=choice.hint.region)
        return choice.groups

    def _outcomes_of(self, request: ChannelRequest, attempts: Attempts) -> Outcomes:
        caller = request.caller
        return Outcomes(
            self._placer,
            self._observer,
            attempts,
            request.id,
            CallId(caller.tenant.name, caller.issuer, caller.channel_key_fingerprint),
            self._placer.wait(),
            is_limited=caller.tenant.max_placements is not None,
        )

    async def _place(
        self, request: ChannelRequest, attempts: Attempts, outcomes: Outcomes, slot: Slot
    ) -> Placed:
        """Return the channel of the attempt that won. Where none did, that is reported before it is raised."""
        try:
            await self._ask_around(request, attempts, outcomes, slot)
        except Exception:
            await outcomes.settle()
            raise
        winner = attempts.winner
        if winner is None or winner.channel is None:
            await outcomes.settle()
            raise attempts.why_not_placed()
        self._observer.placed(winner.placement.region, winner.placement.reason, winner.number)
        return Placed(winner.channel, winner.placement, len(attempts.all))

    def _settle(self, outcomes: Outcomes) -> None:
        """Report what is not reported yet, apart from the caller, who has an answer by now or has left."""
        reply = outcomes.report_created()
        if reply is not None:
            self._replies[reply] = outcomes
            reply.add_done_callback(self._replied)
        elif not outcomes.are_complete:
            self._finish(outcomes)

    def _replied(self, reply: asyncio.Future[Any]) -> None:
        outcomes = self._replies.pop(reply)
        if not outcomes.are_complete:
            self._finish(outcomes)

    def _finish(self, outcomes: Outcomes) -> None:
        task = asyncio.get_running_loop().create_task(outcomes.finish())
        self._tasks[task] = outcomes.attempts
        task.add_done_callback(self._tasks.pop)

    async def _ask_around(
        self, request: ChannelRequest, attempts: Attempts, outcomes: Outcomes, slot: Slot
    ) -> None:
        """Ask one SFU after the other until one serves the request, or none is left, or the time is over."""
        ask = functools.partial(self._ask, request)
        for number in range(1, self._failover.max_retries + 1):
            if number > _FREE and not self._budget.withdraw():
                break
            with self._observer.phase("select"):
                attempt = await self._select(request, attempts, outcomes)
            if attempt is None:
                if number > _FREE:
                    self._budget.put_back()
                break
            if not attempt.placement.is_locked:
                slot.let_others_pass()
            if number > 1:
                await outcomes.report_certain()
            if attempts.is_over():  # an earlier attempt was served meanwhile
                return
            attempts.start(attempt, ask)
            with self._observer.phase("forward"):
                await attempts.wait(self._share_ends_at(attempts), for_attempt=attempt)
            if attempts.is_over() or attempts.winner is not None or attempts.is_refused:
                break
        if not attempts.is_over() and attempts.is_any_open:
            with self._observer.phase("forward"):
                await attempts.wait(attempts.deadline)

    def _share_ends_at(self, attempts: Attempts) -> float:
        """When the next SFU is asked: after half of what is left, so that a hanging SFU leaves time for it."""
        if len(attempts.all) == self._failover.max_retries:
            return attempts.deadline
        return (asyncio.get_running_loop().time() + attempts.deadline) / 2

    async def _select(
        self, request: ChannelRequest, attempts: Attempts, outcomes: Outcomes
    ) -> Attempt | None:
        """The next SFU to ask; `None` when there is none beside those that were asked."""
        loop, tenant = asyncio.get_running_loop(), request.caller.tenant
        wait_s = _FIRST_WAIT_S
        while (remaining := attempts.deadline - loop.time()) > 0 and not attempts.is_over():
            outcomes.asked = PlacementRequest(
                id=request.id,
                call=outcomes.call,
                attempt=len(attempts.all) + 1,
                groups=attempts.groups,
                exclude=attempts.addresses,
                lock_ms=int(remaining * 1000) + _LOCK_MARGIN_MS,
                allow=tenant.region_allow,
                max_placements=tenant.max_placements,
                caller=request.client,
            )
            try:
                answer = await self._placer.select(outcomes.asked, outcomes.wait)
                outcomes.asked = None
            except (NoSfuAvailable, Overloaded):
                outcomes.asked = None
                if attempts.all:
                    return None
                raise
            if not isinstance(answer, Busy):
                return attempts.add(answer)
            await outcomes.report_certain()
            pause_s = min(wait_s, answer.wait_ms / 1000 + 0.001, remaining)
            if attempts.is_any_open:
                await attempts.wait(loop.time() + pause_s)
            else:
                await asyncio.sleep(pause_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        if attempts.all or attempts.is_abandoned:
            return None
        raise DeadlineExceeded("another request for the same channel took all the time there was")

    async def _ask(self, request: ChannelRequest, placement: Placement) -> Channel:
        """Ask one SFU. It has all the time of a request, however late in this one it is asked."""
        client = placement.caller or request.client
        try:
            channel = await self._forwarder.create_channel(
                placement.address,
                token=self._token_of(request, placement),
                client=client,
                public_url=placement.public_url,
                query=request.query,
                timeout_s=min(self._failover.retry_timeout_ms, self._failover.deadline_ms) / 1000,
            )
        except ForwardError as error:
            self._observer.forward_failed(placement.region)
            log.warning(
                "sfu_failed", request_id=logged_id(request.id), sfu=placement.address, detail=str(error)
            )
            raise
        self._on_created(placement, channel, client, request.caller.issuer)
        return channel

    def _token_of(self, request: ChannelRequest, placement: Placement) -> str:
        """Return the token for the placed SFU. Raises `ForwardError` where its key cannot be read."""
        try:
            key = self._placer.open_key(placement)
        except UnsealError as error:  # another replica has the sealing key: during a rotation
            raise ForwardError("has a key that this replica cannot unseal", blame="never") from error
        claims = request.caller.claims | {"exp": int(self._wall_clock()) + SFU_TOKEN_LIFE_SECONDS}
        if placement.has_other_key:  # an SFU gives one caller's issuer one channel, whatever its key
            claims["iss"] = f"{claims['iss']}#{request.caller.channel_key_fingerprint}"
            if placement.reason != "sticky":
                log.warning(
                    "issuer_shared",
                    request_id=logged_id(request.id),
                    sfu=placement.address,
                    detail=_SHARED,
                )
        try:
            return key.sign(claims)
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidField("token", "has a claim that cannot be written again") from error
