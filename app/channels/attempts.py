"""The attempts of one channel request: which SFUs were asked, what each answered, and which of them is to blame."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Final

from app.errors import (
    AllSfusFailed,
    ChannelNotPlaced,
    DeadlineExceeded,
    ReplicaFault,
    RequestRefusedBySfu,
)
from app.registry.placements import Outcome, Placement
from app.upstream.client import Channel, ForwardError

_WRONG_ADDRESS_OR_KEY: Final = frozenset({401, 403, 404, 405, 410, 421})
"""Statuses of an SFU that another key signs for, or of a server that is no SFU."""

_NOT_OF_THE_REQUEST: Final = frozenset({401, 403, 408, 425, 429})
"""4xx that are about the gateway's key, the time or the rate, so that they do not refuse the request."""


@dataclass(slots=True, eq=False)
class Attempt:
    """One SFU that was selected for a request; from `task` on, it is asked."""

    number: int
    placement: Placement
    task: asyncio.Task[Channel | ForwardError] | None = None
    is_reported: bool = False
    """Whether the registry knows the outcome. Each attempt has one report."""

    @property
    def is_open(self) -> bool:
        """Whether the SFU may still answer."""
        return self.task is not None and not self.task.done()

    @property
    def defect(self) -> BaseException | None:
        """The exception of an attempt that could not even fail in order: a defect of the gateway."""
        is_ended = self.task is not None and self.task.done() and not self.task.cancelled()
        return self.task.exception() if is_ended and self.task is not None else None

    @property
    def answer(self) -> Channel | ForwardError | None:
        """What the SFU answered; `None` without an answer."""
        if self.task is None or not self.task.done() or self.task.cancelled() or self.task.exception():
            return None
        return self.task.result()

    @property
    def channel(self) -> Channel | None:
        """The channel that the SFU created."""
        answer = self.answer
        return answer if isinstance(answer, Channel) else None

    @property
    def error(self) -> ForwardError | None:
        """Why the SFU created none."""
        answer = self.answer
        return answer if isinstance(answer, ForwardError) else None

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

    def __init__(self, deadline: float) -> None:
        self.deadline: Final = deadline
        """Seconds of the event loop."""
        self.all: list[Attempt] = []
        self.winner: Attempt | None = None
        """The first attempt that was served: the caller gets its channel."""
        self.is_abandoned = False
        """Whether the caller has left."""
        self.is_out_of_budget = False
        """Whether the retry budget, and not the lack of SFUs, ended the search."""

    def add(self, placement: Placement) -> Attempt:
        """Note the next SFU."""
        attempt = Attempt(len(self.all) + 1, placement)
        self.all.append(attempt)
        return attempt

    def abandon(self) -> None:
        """Stop: the caller has left. Open attempts are cancelled."""
        self.is_abandoned = True
        for attempt in self.all:
            if attempt.task is not None:
                attempt.task.cancel()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The SFUs that were selected."""
        return tuple(attempt.placement.address for attempt in self.all)

    @property
    def open(self) -> list[asyncio.Task[Channel | ForwardError]]:
        """The attempts that may still be answered."""
        return [attempt.task for attempt in self.all if attempt.task is not None and not attempt.task.done()]

    def find_winner(self) -> Attempt | None:
        """Return the first attempt that was served; once there is one, it stays."""
        if self.winner is None:
            self.winner = next((attempt for attempt in self.all if attempt.channel is not None), None)
        return self.winner

    def is_over(self) -> bool:
        """Whether nothing more is to be asked or awaited. Raises the defect of an attempt."""
        for attempt in self.all:
            if attempt.defect is not None:
                raise attempt.defect
        return self.is_abandoned or self.find_winner() is not None

    @property
    def is_refused(self) -> bool:
        """Whether two SFUs refused the request alike: the next one would, too."""
        refusals = Counter(
            attempt.error.status for attempt in self.all if attempt.is_refusal and attempt.error
        )
        return any(count > 1 for count in refusals.values())

    async def wait(self, until: float, *, for_attempt: Attempt | None = None) -> None:
        """Return when an SFU has served, when no attempt (or not `for_attempt`) is open any more, or at `until`."""
        loop = asyncio.get_running_loop()
        while not self.is_over() and (open_tasks := self.open):
            remaining = until - loop.time()
            if remaining <= 0 or (for_attempt is not None and not for_attempt.is_open):
                return
            await asyncio.wait(open_tasks, timeout=remaining, return_when=asyncio.FIRST_COMPLETED)

    async def cancel_open(self) -> None:
        """Cancel the open attempts and wait until their connections are closed."""
        open_tasks = self.open
        for task in open_tasks:
            task.cancel()
        if open_tasks:
            await asyncio.wait(open_tasks)

    def why_not_placed(self) -> ChannelNotPlaced:
        """Return the error for a request that no SFU served."""
        count = len(self.all)
        said = "; ".join(str(attempt.error or "did not answer yet") for attempt in self.all)
        asked = f"{count} SFU{'s were' if count > 1 else ' was'} asked: {said}"
        is_alone = count == 1 and not self.is_out_of_budget
        if self.is_refused or (is_alone and self.all[0].is_refusal):
            return RequestRefusedBySfu(asked)
        errors = [attempt.error for attempt in self.all]
        if all(error is not None and error.blame == "never" for error in errors):
            return ReplicaFault(asked)
        if asyncio.get_running_loop().time() >= self.deadline:
            return DeadlineExceeded(f"time ran out; {asked}")
        return AllSfusFailed(asked)
