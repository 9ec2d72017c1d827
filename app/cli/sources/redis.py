"""Commands that ask Redis itself: they work while no gateway runs."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.api.schemas import Diagnosis, Explanation, Sfu
from app.cli.exits import CommandError, Exit
from app.cli.sources.source import PlacementQuery
from app.diagnosis.facts import Bounds, Facts
from app.diagnosis.fleet_rules import examine_fleet
from app.errors import RegistryUnavailable
from app.events.event import Event, read_event
from app.registry.client import close_client, connect
from app.registry.examination import Patient, unfitness
from app.registry.placements import CallId, PlacementRequest
from app.registry.registry import Registry
from app.registry.signs import read_signs
from app.registry.snapshot import selectable_regions
from app.registry.trouble import trouble_of, where
from app.settings.model import Settings

if TYPE_CHECKING:
    from app.regions.choice import RegionChooser

_PER_READ = 200
_POLL_S = 0.25
_PATIENCE_MS = 2_000
"""A person waits longer for Redis than a call may, and wants to see the fleet above all while Redis is slow."""


def patient_of(settings: Settings) -> Patient:
    """Return the Redis of `settings`, judged by them and asked patiently. The caller closes its client."""
    timeout_ms = max(settings.redis.timeout_ms, _PATIENCE_MS)
    redis = settings.redis.model_copy(update={"timeout_ms": timeout_ms})
    client = connect(redis)
    return Patient(
        client, Registry.from_settings(client, settings.model_copy(update={"redis": redis})), settings
    )


@asynccontextmanager
async def redis_source(settings: Settings) -> AsyncIterator["RedisSource"]:
    """Give a source on the Redis of `settings`."""
    patient = patient_of(settings)
    try:
        yield RedisSource(patient)
    except RegistryUnavailable as error:
        fix = f"{trouble_of(error).fix}, or name another Redis with --redis"
        raise CommandError(f"{where(settings.redis)}: {error.detail}; {fix}", Exit.UNREACHABLE) from error
    finally:
        await close_client(patient.client)


class RedisSource:
    """The registry, judged by this machine's settings: limits and weights should be the gateways'."""

    def __init__(self, patient: Patient) -> None:
        self._patient = patient
        self._registry = patient.registry
        self._settings = patient.settings

    async def sfus(self) -> list[Sfu]:
        """Return every SFU."""
        return [Sfu.of(sfu) for sfu in await self._registry.fleet.sfus()]

    async def diagnosis(self) -> Diagnosis:
        """Judge what Redis holds; a Redis that does not serve is itself what is wrong."""
        bounds, name = Bounds.from_settings(self._settings), where(self._settings.redis)
        try:
            signs, fleet = await read_signs(self._patient), await self._registry.fleet.sfus()
        except RegistryUnavailable as error:
            return Diagnosis.of(Facts(bounds, redis=trouble_of(error), redis_name=name))
        findings = await unfitness(self._patient, set())
        return Diagnosis.of(
            Facts(bounds, fleet=examine_fleet(fleet, bounds), signs=signs, findings=findings, redis_name=name)
        )

    async def explain(self, question: PlacementQuery) -> Explanation:
        """Do what the gateway does, from the tokens' tenant to the candidates."""
        from app.auth.tenants import Tenants

        tenant = Tenants.from_settings(self._settings, time.time).named(question.tenant)
        choice = await (await self._regions()).choose(
            tenant, "", region=question.region, country=question.country, path=None
        )
        request = PlacementRequest(
            id=uuid.uuid4().hex,
            call=CallId(tenant.name, question.issuer),
            groups=choice.groups,
            allow=tenant.region_allow,
        )
        return Explanation.of(choice, await self._registry.fleet.explain(request))

    async def _regions(self) -> "RegionChooser":
        from app.regions.choice import RegionChooser
        from app.regions.table import Point, Region, RegionTable

        places = self._settings.region
        extra = [Region(place.name, Point(place.latitude, place.longitude)) for place in places]
        regions = selectable_regions(await self._registry.fleet.sfus())
        return RegionChooser(
            RegionTable.load(extra),
            self._settings.balancing.region_fallback,
            lambda: regions,
            self._registry.has_region,
        )

    async def drain(self, address: str, deadline_ms: int, *, move: bool) -> None:
        """Drain."""
        await self._registry.fleet.drain(address, deadline_ms=deadline_ms, move=move)

    async def resume(self, address: str) -> None:
        """Resume."""
        await self._registry.fleet.resume(address)

    async def reset(self, address: str) -> None:
        """Reset."""
        await self._registry.fleet.reset(address)

    async def forget(self, address: str) -> None:
        """Forget."""
        await self._registry.fleet.forget(address)

    async def events(self, after: str | None, *, follow: bool) -> AsyncGenerator[Event]:
        """Read the outbox stream."""
        last = after or await self._registry.outbox.last_event_id()
        while True:
            while entries := await self._registry.outbox.events_after(last, _PER_READ):
                for last, fields in entries:
                    yield read_event(last, fields)
            if not follow:
                return
            await asyncio.sleep(_POLL_S)
