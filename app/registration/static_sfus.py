"""SFUs from the configuration. They send no heartbeats, so each replica registers them instead.

Figures come from the SFU's own `/v1/stats`. An SFU that does not answer stays registered with its last figures,
because the operator has configured it: failover and the breaker handle it.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from app.background import in_background, repeated
from app.errors import GatewayError
from app.logs import logger
from app.registry.registry import Registry
from app.registry.sfus import SfuReport
from app.settings.model import StaticSfuSettings
from app.upstream.client import Forwarder, ForwardError
from app.upstream.stats import read_stats, sessions_in

log = logger(__name__)

_STATS_TIMEOUT_S: Final = 2.0


def static_reports(sfus: Sequence[StaticSfuSettings], default_max_sessions: int) -> list[SfuReport]:
    """Return the reports of configured SFUs that have not been asked yet."""
    return [
        SfuReport(
            address=sfu.address,
            region=sfu.region,
            key=sfu.key,
            max_sessions=sfu.max_sessions or default_max_sessions,
            public_url=sfu.public_url,
        )
        for sfu in sfus
    ]


class StaticSfus:
    """Keeps the configured SFUs registered."""

    def __init__(
        self,
        registry: Registry,
        forwarder: Forwarder,
        sfus: Sequence[StaticSfuSettings],
        *,
        interval_s: float,
        default_max_sessions: int,
    ) -> None:
        self._registry = registry
        self._forwarder = forwarder
        self._interval_s = interval_s
        self._reports = static_reports(sfus, default_max_sessions)

    @asynccontextmanager
    async def kept_registered(self) -> AsyncIterator[None]:
        """Register all of them now, and again at each interval for as long as the block runs."""
        if not self._reports:
            yield
            return
        await self.register(measure=False)
        register = functools.partial(self.register, measure=True)
        async with in_background(repeated(register, lambda: self._interval_s)):
            yield

    async def register(self, *, measure: bool) -> None:
        """Send one heartbeat for each, with fresh figures if `measure` and the SFU answers."""
        await asyncio.gather(*(self._register(report, measure=measure) for report in self._reports))

    async def _register(self, report: SfuReport, *, measure: bool) -> None:
        report = await self._measured(report) if measure else replace(report, is_fresh=False)
        try:
            await self._registry.registrations.heartbeat(report)
        except GatewayError as error:
            log.warning("static_sfu_not_registered", sfu=report.address, code=error.code, detail=error.detail)

    async def _measured(self, report: SfuReport) -> SfuReport:
        try:
            channels = read_stats(await self._forwarder.stats(report.address, _STATS_TIMEOUT_S))
        except ForwardError as error:
            log.warning("static_sfu_silent", sfu=report.address, detail=str(error))
            return replace(report, is_fresh=False)
        return replace(report, channels=len(channels), sessions=sessions_in(channels))
