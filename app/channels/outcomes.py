"""What the registry is told of the attempts of one channel request: each attempt once, whatever happens."""

from collections import deque
from dataclasses import dataclass, field

from app.channels.attempts import Attempt, Attempts
from app.channels.observer import Observer
from app.channels.placer import Placer, RegistryWait
from app.channels.request_ids import logged_id
from app.logs import logger
from app.registry.placements import CallId, ForwardOutcome, Outcome

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
    put_off: deque[ForwardOutcome] = field(default_factory=deque)
    """Reports for which the request has waited too long."""

    async def report_certain(self) -> None:
        """Report the attempts that have failed and need no witness, while the request goes on."""
        for attempt in self.attempts.unreported:
            if attempt.error is not None and attempt.error.blame != "with-witness":
                await self._report_ended(attempt)

    async def settle(self) -> None:
        """Report the outcomes of a request that is over.

        Where no SFU served it, or its caller has left, open attempts are ended, and the last report ends the lock.
        """
        attempts = self.attempts
        if attempts.winner is None or attempts.is_abandoned:
            await attempts.cancel_open()
        winner = attempts.winner
        if winner is not None and winner.channel is not None:
            winner.is_reported = True
            channel, placement = winner.channel, winner.placement
            is_news = placement.is_locked or channel.uuid != placement.uuid
            if is_news or len(attempts.all) > 1:  # a later attempt has moved the placement elsewhere
                await self._report(winner, "created", is_final=True, uuid=channel.uuid)
        unreported = attempts.unreported
        for attempt in unreported:
            await self._report_ended(attempt, is_final=winner is None and attempt is unreported[-1])

    @property
    def are_complete(self) -> bool:
        """Whether nothing is left for `report_late`."""
        return not self.attempts.is_any_open and not self.attempts.unreported and not self.put_off

    async def report_late(self) -> None:
        """Report attempts that end after the caller has been answered, and reports that were put off."""
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
        await self._report(attempt, outcome, is_final=is_final)

    async def _report(self, attempt: Attempt, outcome: Outcome, *, is_final: bool, uuid: str = "") -> None:
        """Report an outcome.

        Fails open and counts: the other attempts are still to be reported, and a channel that exists is an answer.
        """
        placement, detail = attempt.placement, str(attempt.error or "")
        if outcome in ("failed", "misconfigured"):
            log.warning(
                "sfu_blamed",
                request_id=logged_id(self.request_id),
                sfu=placement.address,
                outcome=outcome,
                detail=detail,
            )
        report = ForwardOutcome(
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
        if not await self._send(report):
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
