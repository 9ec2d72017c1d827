"""Where a channel should be: regions, countries, and the hints of a request that name them.

A region is a name that SFUs register with, such as `eu-west`. The regions in `data/regions.csv` have coordinates,
and the operator may add more. Any other name works too, without distances. Each country (ISO 3166-1 alpha-2) has one
point in `data/countries.csv`, roughly where its people live, because that predicts latency better than the middle of
the map.

Region names are compared exactly as registered; country codes in any case.
"""

import csv
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

EARTH_RADIUS_KM: Final = 6371.0088
"""Mean radius (2a + b) / 3 of the WGS 84 ellipsoid (NGA.STND.0036, 2014)."""

_WELL_FORMED: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

HintSource: TypeAlias = Literal["region", "country", "path", "tenant", "ip"]


@dataclass(frozen=True, slots=True)
class Point:
    """A place on Earth, in degrees: north and east are positive. Raises `ValueError` outside the globe."""

    latitude: float
    longitude: float

    def __post_init__(self) -> None:
        if not -90 <= self.latitude <= 90:
            raise ValueError(f"latitude: {self.latitude} is not within -90 to 90 degrees")
        if not -180 <= self.longitude <= 180:
            raise ValueError(f"longitude: {self.longitude} is not within -180 to 180 degrees")


@dataclass(frozen=True, slots=True)
class Region:
    """A region with coordinates. Raises `ValueError` for a name that a hint cannot spell."""

    name: str
    point: Point

    def __post_init__(self) -> None:
        if not _WELL_FORMED.fullmatch(self.name):
            raise ValueError(f"region: {self.name!r} is not 1 to 64 characters of A-Z a-z 0-9 . _ -")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """The unchecked hints of a request, the strongest first. `None` and empty text are no hint.

    `region` and `country` are query parameters, `path` is the region of `/r/<region>/...`, `tenant` is the
    region the operator gave the tenant, `ip` is the country of the caller's address.
    """

    region: str | None = None
    country: str | None = None
    path: str | None = None
    tenant: str | None = None
    ip: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionHint:
    """Where a channel should be, and which hint decided it. All fields are `None` without a known hint.

    `country` is the upper-case code when the hint was a country. `ignored` is true when the request itself
    gave hints (query or path) and none of them was known, as after a typo; a metric counts that.
    """

    region: str | None = None
    source: HintSource | None = None
    country: str | None = None
    ignored: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class RegionTable:
    """All regions with coordinates, and every order by distance that a request may need, computed once.

    Each order names every region of the table, the nearest first; of regions at one place a region puts
    itself first, and the others go by name.
    """

    regions: tuple[Region, ...]
    _nearest_to: Mapping[str, tuple[str, ...]] = field(repr=False)
    _nearest_to_country: Mapping[str, tuple[str, ...]] = field(repr=False)

    @classmethod
    def load(cls, extra: Iterable[Region] = ()) -> "RegionTable":
        """Read the shipped tables. The operator's `extra` regions replace those with equal names.

        Raises:
            ValueError: a name comes twice in `extra`.
        """
        regions = tuple((_shipped_regions() | _by_unique_name(extra)).values())
        return cls(
            regions=regions,
            _nearest_to=_orders({region.name: region.point for region in regions}, regions),
            _nearest_to_country=_orders(_shipped_countries(), regions),
        )

    def knows(self, region: str) -> bool:
        """Whether `region` is in the table, spelled exactly so."""
        return region in self._nearest_to

    def nearest_to(self, region: str) -> tuple[str, ...]:
        """Return all regions by distance from `region`, itself first; empty when it has no coordinates."""
        return self._nearest_to.get(region, ())

    def nearest_to_country(self, code: str) -> tuple[str, ...]:
        """Return all regions by distance from the country with this `code`; empty when there is none."""
        # Upper case may change the length: "ß" becomes "SS", the code of South Sudan.
        return self._nearest_to_country.get(code.upper(), ()) if code.isascii() else ()

    def region_of_country(self, code: str, fleet: Set[str] = frozenset()) -> str | None:
        """Return the region nearest to the country among those of the `fleet`, else of the table.

        A country says where people are and not what the operator calls the place, so a region without SFUs is
        its answer only when no region of the fleet has coordinates. `None` when the country is unknown.
        """
        order = self.nearest_to_country(code)
        if not order:
            return None
        return next((region for region in order if region in fleet), order[0])

    def fallback_regions(self, hint: RegionHint) -> tuple[str, ...]:
        """Return the regions to walk for `region_fallback = "nearest"`, nearest to the hinted place first.

        The order is a preference, not a limit. SFUs in regions without coordinates have no rank: after the last
        region, or at once without an order (no hint, or a hint without coordinates), any SFU may be used.
        """
        if hint.country is not None:
            return self.nearest_to_country(hint.country)
        return self.nearest_to(hint.region) if hint.region is not None else ()


def resolve_hint(hints: Hints, table: RegionTable, fleet: Set[str] = frozenset()) -> RegionHint:
    """Return the result of the first known hint. Unknown hints count as not given.

    A region is known when it is in the `table` or in the `fleet`: the regions that have SFUs and that this
    request may use. More than 64 characters, or one outside `[A-Za-z0-9._-]`, are never known.
    """
    is_named_by_request = bool(hints.region or hints.country or hints.path)
    for source, text in _ranked(hints):
        if not text or not _WELL_FORMED.fullmatch(text):
            continue
        is_country = source in ("country", "ip")
        if is_country:
            region = table.region_of_country(text, fleet)
        else:
            region = text if table.knows(text) or text in fleet else None
        if region is not None:
            return RegionHint(
                region=region,
                source=source,
                country=text.upper() if is_country else None,
                ignored=is_named_by_request and source in ("tenant", "ip"),
            )
    return RegionHint(ignored=is_named_by_request)


def great_circle_km(a: Point, b: Point) -> float:
    """Return the distance from `a` to `b` over a spherical Earth, in km; within 0.6 % of the ellipsoid's.

    The haversine formula is exact for near points too (R. W. Sinnott, "Virtues of the Haversine", Sky and
    Telescope 68, 1984). Near the antipode rounding may lift the haversine above 1, where it has no meaning.
    """
    latitude_a, latitude_b = math.radians(a.latitude), math.radians(b.latitude)
    half_latitude = (latitude_b - latitude_a) / 2
    half_longitude = math.radians(b.longitude - a.longitude) / 2
    haversine = (
        math.sin(half_latitude) ** 2
        + math.cos(latitude_a) * math.cos(latitude_b) * math.sin(half_longitude) ** 2
    )
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, haversine)))


def _ranked(hints: Hints) -> tuple[tuple[HintSource, str | None], ...]:
    return (
        ("region", hints.region),
        ("country", hints.country),
        ("path", hints.path),
        ("tenant", hints.tenant),
        ("ip", hints.ip),
    )


def _by_unique_name(regions: Iterable[Region]) -> dict[str, Region]:
    named: dict[str, Region] = {}
    for region in regions:
        if region.name in named:
            raise ValueError(f"region: {region.name!r} is given twice")
        named[region.name] = region
    return named


def _orders(origins: Mapping[str, Point], regions: tuple[Region, ...]) -> Mapping[str, tuple[str, ...]]:
    return MappingProxyType({name: _by_distance(name, origin, regions) for name, origin in origins.items()})


def _by_distance(name: str, origin: Point, regions: tuple[Region, ...]) -> tuple[str, ...]:
    ranks = sorted((great_circle_km(origin, r.point), r.name != name, r.name) for r in regions)
    return tuple(region for _, _, region in ranks)


def _shipped_regions() -> dict[str, Region]:
    return {row["name"]: Region(row["name"], _point(row)) for row in _rows("regions.csv")}


def _shipped_countries() -> dict[str, Point]:
    return {row["code"]: _point(row) for row in _rows("countries.csv")}


def _point(row: Mapping[str, str]) -> Point:
    return Point(float(row["latitude"]), float(row["longitude"]))


def _rows(name: str) -> Iterator[dict[str, str]]:
    text = resources.files("app").joinpath("data", name).read_text(encoding="utf-8")
    return csv.DictReader(text.splitlines())
