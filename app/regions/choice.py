"""Turns the hints of a request into the groups of regions that a placement tries in order."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from app.auth.tenants import Tenant
from app.errors import RegistryUnavailable
from app.regions.geoip import CountryByIp
from app.regions.table import Hints, RegionHint, RegionTable, resolve_hint
from app.registry.placements import ANYWHERE

_NO_HINT: Final = RegionHint()


@dataclass(frozen=True, slots=True)
class RegionChoice:
    """Where a channel may be placed: `groups` in order of preference, and the hint that they come from."""

    groups: tuple[tuple[str, ...], ...]
    hint: RegionHint


class RegionChooser:
    """Turns hints into groups, by the operator's fallback rule."""

    def __init__(
        self,
        table: RegionTable,
        fallback: Literal["any", "nearest"],
        fleet_regions: Callable[[], frozenset[str]],
        has_region: Callable[[str], Awaitable[bool]],
        country_by_ip: CountryByIp | None = None,
    ) -> None:
        self._table = table
        self._fallback = fallback
        self._fleet_regions = fleet_regions
        self._has_region = has_region
        self._country_by_ip = country_by_ip
        self._without_hints: dict[tuple[str, ...] | None, RegionChoice] = {}

    async def choose(
        self, tenant: Tenant, client: str, *, region: str | None, country: str | None, path: str | None
    ) -> RegionChoice:
        """Return where a channel of `tenant` for the caller at `client` may be placed."""
        if not (region or country or path or tenant.region or self._country_by_ip):  # as Odoo asks
            allow = tenant.region_allow
            choice = self._without_hints.get(allow)
            if choice is None:
                choice = self._without_hints[allow] = RegionChoice(self._groups(_NO_HINT, allow), _NO_HINT)
            return choice
        country_of_client = self._country_by_ip.country_of(client) if self._country_by_ip else None
        hints = Hints(region=region, country=country, path=path, tenant=tenant.region, ip=country_of_client)
        fleet = await self._fleet_with(region, path, tenant.region)
        if tenant.region_allow is not None:
            fleet &= frozenset(tenant.region_allow)
        hint = resolve_hint(hints, self._table, fleet)
        return RegionChoice(self._groups(hint, tenant.region_allow, fleet), hint)

    async def _fleet_with(self, *named: str | None) -> frozenset[str]:
        """Return the regions of the fleet. Named regions that this replica does not know are looked up in Redis."""
        fleet = self._fleet_regions()
        for name in named:
            is_new = name and len(name) <= 64 and name not in fleet and not self._table.knows(name)
            if name and is_new and await self._is_in_registry(name):
                fleet |= {name}
        return fleet

    async def _is_in_registry(self, name: str) -> bool:
        """Fails open: while Redis is away, a region that this replica has not seen counts as unknown."""
        try:
            return await self._has_region(name)
        except RegistryUnavailable:
            return False

    def _groups(
        self, hint: RegionHint, allowed: tuple[str, ...] | None, fleet: frozenset[str] = frozenset()
    ) -> tuple[tuple[str, ...], ...]:
        preferred: Iterable[str] = (hint.region,) if hint.region else ()
        if hint.country is not None:
            # A country means the nearest region in which an SFU is selectable. Regions that this replica knows come
            # first, so that the first group serves most requests.
            order = self._table.fallback_regions(hint)
            preferred = (*filter(fleet.__contains__, order), *order)
        elif self._fallback == "nearest":
            preferred = (*preferred, *self._table.fallback_regions(hint))
        groups = [(name,) for name in dict.fromkeys(preferred) if allowed is None or name in allowed]
        return (*groups, (ANYWHERE,) if allowed is None else allowed)
