"""What the registry is told of the attempts of one channel request: each attempt once, whatever happens."""

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from app.channels.attempts import Attempt, Attempts
from app.channels.observer import Observer
from app.channels.placer import Placer, RegistryWait
from app.channels.request_ids import logged_id
from app.errors import GatewayError
from app.logs import logger
from app.registry.placements import Busy, CallId, ForwardOutcome, Outcome, PlacementRequest

log = logger(__name__)


@dataclass(slots=True)
class Outcomes:
    """Reports one request's attempts. Every selected SFU has a reservation, so every attempt has a report."""

    placer: Placer
    observer: Observer
    attempts: Attempts
    request_id: str
    call: CallId
    wait: RegistryWait
    is_limited: bool = False
    """Whether the tenant has a limit."""
    asked: PlacementRequest | None = None
    """What the placer is asked for the request, until it has answered. Its caller may leave before that."""
    put_off: deque[ForwardOutcome] = field(default_factory=deque)
    """Reports for which the request has waited too long."""

    async def report_certain(self) -> None:
        """Report the attempts that have failed and need no witness, while the request goes on."""
        for attempt in self.attempts.unreported:
            if attempt.error is not None and attempt.error.blame != "with-witness":
                await self._report_ended(attempt)

    def report_created(self) -> asyncio.Future[Any] | None:
        """Begin to report the channel of a request that asked one SFU, as nearly all do; return what is then done.

        `None` where `finish` has to do that, or where there is nothing to report.
        """
        if len(self.attempts.all) != 1 or self.attempts.is_abandoned:
            return None
        report = self._take_created()
        if report is None:
            return None

        def then(is_known: bool) -> None:
            end()
            if not is_known:
                self.put_off.append(report)

        reply = self.placer.record_created(report, then)
        if reply is None:
            self.put_off.append(report)
            return None
        end = self.observer.begin("report")
        return reply

    async def settle(self) -> None:
        """Report the outcomes of a request that is over.

        Where no SFU served it, or its caller has left, open attempts are ended, and the last report ends the lock.
        """
        attempts = self.attempts
        await self._take_back()
        if attempts.winner is None or attempts.is_abandoned:
            await attempts.cancel_open()
        created = self._take_created()
        if created is not None:
            await self._tell(created)
        unreported = attempts.unreported
        for attempt in unreported:
            await self._report_ended(attempt, is_final=attempts.winner is None and attempt is unreported[-1])

    async def _take_back(self) -> None:
        """Find out which SFU was selected for a caller that has left meanwhile: the registry knows the request."""
        asked, self.asked = self.asked, None
        if asked is not None and self.attempts.is_abandoned:
            with suppress(GatewayError):
                answer = await self.placer.select(asked)
                if not isinstance(answer, Busy):
                    self.attempts.add(answer)

    def _take_created(self) -> ForwardOutcome | None:
        """Return the report of the caller's channel, once; `None` where it is no news to the registry."""
        winner = self.attempts.winner
        if winner is None or winner.channel is None or winner.is_reported:
            return None
        winner.is_reported = True
        channel, placement = winner.channel, winner.placement
        is_news = placement.is_locked or channel.uuid != placement.uuid
        if is_news or len(self.attempts.all) > 1:  # a later attempt has moved the placement elsewhere
            return self._report_of(winner, "created", is_final=True, uuid=channel.uuid)
        return None

    @property
    def are_complete(self) -> bool:
        """Whether nothing is left for `finish`."""
        attempts = self.attempts
        return self.asked is None and not (self.put_off or attempts.is_any_open or attempts.unreported)

    async def finish(self) -> None:
        """Report everything, also what ends after the caller has been answered, and reports that were put off."""
        try:
            await self.settle()
            await self._report_late()
        except Exception:
            log.exception("settle_failed", request_id=logged_id(self.request_id))

    async def _report_late(self) -> None:
        while not self.are_complete:
            if self.put_off:
                report = self.put_off.popleft()
                self.wait.left_s = self.placer.wait().left_s
                if not await self._send(report):
                    self.placer.keep(report)
            elif not self.attempts.unreported:
                await self.attempts.next_end()
            for attempt in self.attempts.unreported:
                await self._report_ended(attempt)

    async def _report_ended(self, attempt: Attempt, *, is_final: bool = False) -> None:
        attempt.is_reported = True
        if attempt.channel is not None:
            self.observer.channel_orphaned(attempt.placement.region)
            log.warning(
                "channel_orphaned", request_id=logged_id(self.request_id), sfu=attempt.placement.address
            )
        outcome = attempt.outcome(is_served=self.attempts.winner is not None)
        await self._tell(self._report_of(attempt, outcome, is_final=is_final))

    def _report_of(
        self, attempt: Attempt, outcome: Outcome, *, is_final: bool, uuid: str = ""
    ) -> ForwardOutcome:
        placement, detail = attempt.placement, str(attempt.error or "")
        if outcome in ("failed", "misconfigured"):
            log.warning(
                "sfu_blamed",
                request_id=logged_id(self.request_id),
                sfu=placement.address,
                outcome=outcome,
                detail=detail,
            )
        return ForwardOutcome(
            self.request_id,
            self.call,
            placement,
            outcome,
            is_final,
            uuid,
            attempt.number,
            detail,
            self.is_limited,
        )

    async def _tell(self, report: ForwardOutcome) -> None:
        """Report an outcome.

        Fails open and counts: the other attempts are still to be reported, and a channel that exists is an answer.
        """
        try:
            is_done = await self._send(report)
        except asyncio.CancelledError:
            self.put_off.append(report)
            raise
        if not is_done:
            self.put_off.append(report)

    async def _send(self, report: ForwardOutcome) -> bool:
        """Report, and return whether that is done with; a defect is, too."""
        try:
            with self.observer.phase("report"):
                return await self.placer.record_outcome(report, self.wait)
        except Exception as defect:
            self.observer.report_failed(defect)
            log.exception("report_failed", request_id=logged_id(report.id), sfu=report.placement.address)
            return True
