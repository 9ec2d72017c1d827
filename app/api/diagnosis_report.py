"""The document of `GET /v1/diagnosis`, computed for all who ask within a second."""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from app.api.health_report import mode_of
from app.api.schemas import Diagnosis
from app.dashboard.counters import ChannelCounter
from app.dashboard.fleet_watch import FleetView
from app.diagnosis.facts import Bounds, Facts, FleetReport, ReplicaFacts
from app.diagnosis.fleet_rules import examine_fleet
from app.errors import RegistryUnavailable
from app.registry.availability import RegistryAvailability
from app.registry.examination import Finding, Patient, unfitness
from app.registry.known_fleet import KnownFleet
from app.registry.signs import Signs, read_signs
from app.registry.trouble import Trouble, trouble_of

_FRESH_S: Final = 1.0
_EXAMINE_EVERY_S: Final = 10.0
"""What `doctor` looks at changes slowly, and each look costs Redis several commands."""


class DiagnosisReport:
    """What one replica says is wrong. Works without Redis, by what was seen last."""

    def __init__(
        self,
        fleet: KnownFleet,
        switch: RegistryAvailability,
        patient: Patient,
        counter: ChannelCounter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` is in seconds."""
        self._switch = switch
        self._patient = patient
        self._counter = counter
        self._clock = clock
        self._bounds = Bounds.from_settings(patient.settings)
        self._fleet: FleetView[FleetReport] = FleetView(
            fleet.read_or_last_seen,
            lambda: True,
            partial(examine_fleet, bounds=self._bounds),
            situation=lambda: mode_of(switch),
        )
        self._one_at_a_time = asyncio.Lock()
        self._findings: Sequence[Finding] = ()
        self._denied: set[str] = set()
        self._examined_at = float("-inf")
        self._found: Diagnosis | None = None
        self._found_at = float("-inf")

    async def look(self) -> Diagnosis:
        """Return what is wrong, as of this second. Never raises."""
        async with self._one_at_a_time:
            found = self._found
            if found is None or self._clock() - self._found_at >= _FRESH_S:
                found = self._found = await self._diagnosis()
                self._found_at = self._clock()
        return found

    def expire(self) -> None:
        """Make the next viewer look again: an operator has just changed something."""
        self._fleet.expire()
        self._found = None

    async def _diagnosis(self) -> Diagnosis:
        switch = self._switch
        fleet = (await self._fleet.look()).rendered
        signs, trouble = await self._ask_redis()
        replica = ReplicaFacts(
            name=socket.gethostname(),
            mode=switch.mode,
            mode_for_ms=round(switch.away_for_s * 1000),
            snapshot_size=len(switch.snapshot.nodes),
            outcomes=self._counter.last_minute(),
            refused_heartbeats=self._counter.refused_heartbeats.last_minute(),
        )
        return Diagnosis.of(
            Facts(
                bounds=self._bounds,
                fleet=fleet if signs or switch.snapshot.nodes else None,
                signs=signs,
                findings=self._findings if signs else (),
                redis=trouble,
                replica=replica,
            ),
            age_ms=self._age_ms(),
        )

    async def _ask_redis(self) -> tuple[Signs | None, Trouble | None]:
        """Return the answer of Redis, or why it does not serve. A Redis that is known to be away is not asked."""
        switch = self._switch
        if switch.mode != "unavailable":
            try:
                signs = await switch.call(read_signs(self._patient))
                await self._examine()
            except RegistryUnavailable as error:
                return None, trouble_of(error)
            return signs, None
        return None, trouble_of(switch.failure) if switch.failure else None

    async def _examine(self) -> None:
        if self._patient.settings.redis.url is None or self._clock() - self._examined_at < _EXAMINE_EVERY_S:
            return
        self._findings = await unfitness(self._patient, self._denied)
        self._examined_at = self._clock()

    def _age_ms(self) -> int:
        seen_at = self._switch.snapshot.at_ms
        return 0 if self._switch.uses_registry or not seen_at else max(0, self._switch.redis_ms() - seen_at)
