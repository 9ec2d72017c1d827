"""The attempts of one channel request: which SFUs were asked, what each answered, and which of them is to blame."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from app.errors import (
    AllSfusFailed,
    ChannelNotPlaced,
    DeadlineExceeded,
    ReplicaFault,
    RequestRefusedBySfu,
)
from app.registry.placements import ANYWHERE, Outcome, Placement
from app.timers import Timers
from app.upstream.client import Channel, ForwardError

_WRONG_ADDRESS_OR_KEY: Final = frozenset({401, 403, 404, 405, 410, 421})
"""Statuses of an SFU that another key signs for, or of a server that is no SFU."""

_NOT_OF_THE_REQUEST: Final = frozenset({401, 403, 408, 425, 429})
"""4xx that are about the gateway's key, the time or the rate, so that they do not refuse the request."""

_TO_ANSWER_S: Final = 0.1
"""What is left of the deadline when a request no longer waits for the SFU that has its call."""


@dataclass(slots=True, eq=False)
class Attempt:
    """One SFU that was selected for a request; from `task` on, it is asked."""

    number: int
    placement: Placement
    task: asyncio.Task[None] | None = None
    channel: Channel | None = None
    """What the SFU created."""
    error: ForwardError | None = None
    """Why the SFU created no channel."""
    has_ended: bool = False
    is_reported: bool = False
    """Whether the registry knows the outcome. Each attempt has one report."""

    @property
    def is_open(self) -> bool:
        """Whether the SFU may still answer."""
        return self.task is not None and not self.has_ended and not self.task.done()

    @property
    def has_the_call(self) -> bool:
        """Whether the issuer's channel is known to be on this SFU, which is in service."""
        return self.placement.reason == "sticky" and self.placement.uuid != ""

    @property
    def is_refusal(self) -> bool:
        """Whether the SFU answered with a 4xx that is about the request."""
        error = self.error
        if error is None or error.status is None:
            return False
        return 400 <= error.status < 500 and error.status not in _NOT_OF_THE_REQUEST

    def outcome(self, *, is_served: bool) -> Outcome:
        """Return the outcome for the registry; `is_served`: another SFU served the same request."""
        error = self.error
        if error is None or error.blame == "never":
            return "unblamed"
        if error.blame == "at-once":
            return "failed"
        if not is_served:
            return "unblamed"
        return "misconfigured" if error.status in _WRONG_ADDRESS_OR_KEY else "failed"


class Attempts:
    """What one request has asked so far, and until when it may."""

    def __init__(
        self, deadline: float, timers: Timers, groups: tuple[tuple[str, ...], ...] = ((ANYWHERE,),)
    ) -> None:
        self.deadline: Final = deadline
        """Seconds of the event loop."""
        self.groups: Final = groups
        """`groups` of the placement requests."""
        self.all: list[Attempt] = []
        self.winner: Attempt | None = None
        """The attempt whose channel the caller gets: the first that was served, or the one that has the call."""
        self.is_abandoned = False
        """Whether the caller has left."""
        self._defect: Exception | None = None
        self._loop = asyncio.get_running_loop()
        self._timers = timers
        self._change: asyncio.Future[None] | None = None

    def add(self, placement: Placement) -> Attempt:
        """Note the next SFU."""
        attempt = Attempt(len(self.all) + 1, placement)
        self.all.append(attempt)
        return attempt

    def start(self, attempt: Attempt, ask: Callable[[Placement], Awaitable[Channel]]) -> None:
        """Ask the SFU: `ask` returns its channel, or raises `ForwardError`."""
        attempt.task = self._loop.create_task(self._follow(attempt, ask))

    async def _follow(self, attempt: Attempt, ask: Callable[[Placement], Awaitable[Channel]]) -> None:
        try:
            attempt.channel = await ask(attempt.placement)
        except ForwardError as error:
            attempt.error = error
        except Exception as defect:  # noqa: BLE001 - `wait` raises it to the caller
            self._defect = defect
        else:
            if self.winner is None or (attempt.has_the_call and not self.is_over()):
                self.winner = attempt
        finally:
            attempt.has_ended = True
            self._changed()

    def _changed(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    def abandon(self) -> None:
        """Stop: the caller has left. Open attempts are cancelled."""
        self.is_abandoned = True
        for attempt in self.all:
            if attempt.task is not None:
                attempt.task.cancel()
        self._changed()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The SFUs that were selected."""
        return tuple(attempt.placement.address for attempt in self.all)

    @property
    def is_any_open(self) -> bool:
        """Whether an SFU may still answer."""
        for attempt in self.all:  # noqa: SIM110 - `any` takes three times as long, and this is asked several times
            if attempt.is_open:
                return True
        return False

    @property
    def unreported(self) -> list[Attempt]:
        """The attempts that are not open any more and that the registry knows nothing of."""
        return [attempt for attempt in self.all if not attempt.is_reported and not attempt.is_open]

    def is_over(self) -> bool:
        """Whether nothing more is to be asked or awaited."""
        if self.winner is None or self.is_abandoned:
            return self.is_abandoned
        return len(self.all) == 1 or not self._is_home_open or self._loop.time() >= self._home_until

    @property
    def _is_home_open(self) -> bool:
        """Whether the SFU that has the call may still answer: another one's channel would split the call."""
        return any(attempt.is_open and attempt.has_the_call for attempt in self.all)

    @property
    def _home_until(self) -> float:
        return self.deadline - _TO_ANSWER_S

    @property
    def is_refused(self) -> bool:
        """Whether two SFUs refused the request alike: the next one would, too."""
        refusals = Counter(
            attempt.error.status for attempt in self.all if attempt.is_refusal and attempt.error
        )
        return any(count > 1 for count in refusals.values())

    async def wait(self, until: float, *, for_attempt: Attempt | None = None) -> None:
        """Return when the request is over, when no attempt (or not `for_attempt`) is open any more, or at `until`.

        Raises what an attempt failed with by a defect of the gateway.
        """
        while self._defect is None and not self.is_over() and self.is_any_open:
            if until <= self._loop.time() or (for_attempt is not None and not for_attempt.is_open):
                break
            await self.next_end(until if self.winner is None else min(until, self._home_until))
        if self._defect is not None:
            raise self._defect

    async def next_end(self, until: float | None = None) -> None:
        """Return when the next of the open attempts has ended, or at `until`."""
        self._change = self._loop.create_future()
        timer = self._timers.call_at(until, self._changed) if until is not None else None
        try:
            await self._change
        finally:
            if timer is not None:
                timer.cancel()

    async def cancel_open(self) -> None:
        """Cancel the open attempts and wait until their connections are closed."""
        tasks = [attempt.task for attempt in self.all if attempt.task is not None and not attempt.task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def why_not_placed(self) -> ChannelNotPlaced:
        """Return the error for a request that no SFU served."""
        count = len(self.all)
        said = "; ".join(str(attempt.error or "did not answer yet") for attempt in self.all)
        asked = f"{count} SFU{'s were' if count > 1 else ' was'} asked: {said}"
        is_alone = count == 1
        if self.is_refused or (is_alone and self.all[0].is_refusal):
            return RequestRefusedBySfu(asked)
        errors = [attempt.error for attempt in self.all]
        if all(error is not None and error.blame == "never" for error in errors):
            return ReplicaFault(asked)
        if self._loop.time() >= self.deadline:
            return DeadlineExceeded(f"time ran out; {asked}")
        return AllSfusFailed(asked)
