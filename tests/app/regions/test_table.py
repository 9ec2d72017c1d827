"""Regions: the shipped tables, distances, and the order of hints."""

import csv
import math
import re
import string
import tomllib
from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from importlib import resources
from itertools import pairwise, product
from pathlib import Path

import pycountry
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.regions.table import (
    EARTH_RADIUS_KM,
    Hints,
    Point,
    Region,
    RegionHint,
    RegionTable,
    great_circle_km,
    resolve_hint,
)

TABLE = RegionTable.load()
DOCS = Path(__file__).parents[3] / "docs" / "regions.md"

PARIS = Point(48.9, 2.4)
HALF_CIRCUMFERENCE_KM = math.pi * EARTH_RADIUS_KM
ROUNDING_KM = 0.001  # asin is steep near the antipode: double precision leaves up to 0.2 m there

points = st.builds(Point, st.floats(-90, 90), st.floats(-180, 180))


def rows_of(name: str) -> list[dict[str, str]]:
    text = resources.files("app").joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


# Distance


@pytest.mark.parametrize(
    ("a", "b", "km"),
    [
        pytest.param(Point(0, 0), Point(0, 1), 111.195, id="one degree of the equator"),
        pytest.param(Point(90, 0), Point(-90, 0), HALF_CIRCUMFERENCE_KM, id="pole to pole"),
        pytest.param(Point(0, 179.5), Point(0, -179.5), 111.195, id="across the date line"),
        pytest.param(Point(51.47, -0.45), Point(40.64, -73.78), 5_540, id="Heathrow to Kennedy"),
    ],
)
def test_distances_are_those_of_the_globe(a: Point, b: Point, km: float) -> None:
    assert great_circle_km(a, b) == pytest.approx(km, rel=1e-3)


@given(points, points)
def test_distance_is_the_same_both_ways(a: Point, b: Point) -> None:
    assert great_circle_km(a, b) == pytest.approx(great_circle_km(b, a), abs=ROUNDING_KM)


@given(points)
def test_a_point_is_no_distance_from_itself(a: Point) -> None:
    assert great_circle_km(a, a) == 0


@given(points, points, points)
def test_a_detour_is_never_shorter(a: Point, b: Point, c: Point) -> None:
    assert great_circle_km(a, c) <= great_circle_km(a, b) + great_circle_km(b, c) + ROUNDING_KM


@given(points, points)
def test_nothing_is_farther_than_half_way_round(a: Point, b: Point) -> None:
    assert 0 <= great_circle_km(a, b) <= HALF_CIRCUMFERENCE_KM


@given(points)
def test_the_antipode_is_half_way_round(a: Point) -> None:
    antipode = Point(-a.latitude, a.longitude - math.copysign(180, a.longitude))
    assert great_circle_km(a, antipode) == pytest.approx(HALF_CIRCUMFERENCE_KM, abs=ROUNDING_KM)


@pytest.mark.parametrize(
    ("latitude", "longitude", "named"),
    [(90.1, 0, "latitude"), (math.nan, 0, "latitude"), (0, -180.1, "longitude"), (0, math.inf, "longitude")],
)
def test_a_point_off_the_globe_is_refused(latitude: float, longitude: float, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Point(latitude, longitude)


# The shipped tables


def test_the_countries_are_those_of_iso_3166_and_no_others() -> None:
    every_code = map("".join, product(string.ascii_uppercase, repeat=2))
    known = {code for code in every_code if TABLE.nearest_to_country(code)}
    assert known == {country.alpha_2 for country in pycountry.countries} | {"XK"}


def test_kosovo_is_known_by_the_code_that_is_used_for_it() -> None:
    """XK is assigned by its users (ISO 3166-1, 8.1.3): GeoIP databases and the predecessor know it."""
    assert TABLE.nearest_to_country("XK")[:2] == ("eu-south", "eu-central")


def test_the_regions_are_those_of_the_roadmap_the_predecessor_and_the_design() -> None:
    assert {
        *("eu-west", "eu-central", "eu-north", "eu-south", "us-east", "us-central", "us-west", "sa-east"),
        *("sa-west", "ap-south", "ap-southeast", "ap-east", "ap-northeast", "oceania", "af-south"),
        *("me-south", "me-central"),
    } <= {region.name for region in TABLE.regions}


@pytest.mark.parametrize(("name", "key"), [("countries.csv", "code"), ("regions.csv", "name")])
def test_a_data_file_is_sorted_unique_named_and_to_one_decimal(name: str, key: str) -> None:
    rows = rows_of(name)
    assert all(one[key] < next_one[key] for one, next_one in pairwise(rows))
    assert all(row["name"] for row in rows)
    assert all(re.fullmatch(r"-?\d+\.\d", row[axis]) for row in rows for axis in ("latitude", "longitude"))


def test_the_documented_table_is_the_shipped_one() -> None:
    documented = re.findall(
        r"^\| `([\w-]+)` \| ([^|`]+) \| (-?\d+\.\d) \| (-?\d+\.\d) \|$", DOCS.read_text("utf-8"), re.M
    )
    assert documented == [
        (row["name"], row["place"], row["latitude"], row["longitude"]) for row in rows_of("regions.csv")
    ]


# Orders of distance


@pytest.mark.parametrize(
    ("country", "region"),
    [
        *(("FR", "eu-west"), ("GB", "eu-west"), ("BE", "eu-west"), ("ES", "eu-west"), ("IE", "eu-west")),
        *(("DE", "eu-central"), ("PL", "eu-central"), ("SE", "eu-north"), ("FI", "eu-north")),
        *(("IT", "eu-south"), ("GR", "eu-south"), ("RU", "eu-north"), ("TN", "eu-south")),
        *(("US", "us-central"), ("CA", "ca-east"), ("MX", "us-central"), ("CU", "us-east")),
        *(("BR", "sa-east"), ("CL", "sa-west"), ("PE", "sa-west")),
        *(("JP", "ap-northeast"), ("KR", "ap-northeast"), ("CN", "ap-east"), ("HK", "ap-east")),
        *(("IN", "ap-south"), ("SG", "ap-southeast"), ("ID", "ap-southeast")),
        *(("AU", "oceania"), ("NZ", "oceania"), ("ZA", "af-south"), ("KE", "af-south")),
        *(("AE", "me-central"), ("SA", "me-south"), ("EG", "me-south")),
    ],
)
def test_a_country_belongs_to_the_region_next_to_its_people(country: str, region: str) -> None:
    assert TABLE.nearest_to_country(country)[0] == region
    assert TABLE.region_of_country(country) == region


def test_from_eu_west_the_walk_goes_through_europe_first() -> None:
    assert TABLE.nearest_to("eu-west")[:4] == ("eu-west", "eu-central", "eu-south", "eu-north")


def test_every_order_names_every_region_once() -> None:
    names = sorted(region.name for region in TABLE.regions)
    assert all(sorted(TABLE.nearest_to(name)) == names for name in names)
    assert sorted(TABLE.nearest_to_country("NZ")) == names


def test_every_region_is_nearest_to_itself() -> None:
    assert all(TABLE.nearest_to(region.name)[0] == region.name for region in TABLE.regions)


def test_of_two_regions_at_one_place_each_puts_itself_first() -> None:
    table = RegionTable.load([Region("here-b", PARIS), Region("here-a", PARIS)])
    assert table.nearest_to("here-a")[:3] == ("here-a", "eu-west", "here-b")
    assert table.nearest_to("here-b")[:3] == ("here-b", "eu-west", "here-a")


def test_nothing_is_near_a_region_without_coordinates() -> None:
    assert TABLE.nearest_to("basement") == ()


def test_country_codes_are_known_in_any_case() -> None:
    assert TABLE.nearest_to_country("fr") == TABLE.nearest_to_country("Fr") == TABLE.nearest_to_country("FR")


@pytest.mark.parametrize("code", ["", "F", "ZZ", "FRA", "XX", " FR", "ß", "ﬁ"])
def test_an_unknown_country_is_near_nothing(code: str) -> None:
    assert TABLE.nearest_to_country(code) == ()
    assert TABLE.region_of_country(code) is None


def test_region_names_are_known_only_as_spelled() -> None:
    assert TABLE.knows("eu-west")
    assert not TABLE.knows("EU-West")


# The operator's regions


def test_an_extra_region_takes_the_countries_around_it() -> None:
    table = RegionTable.load([Region("is-reykjavik", Point(64.1, -21.9))])
    assert table.knows("is-reykjavik")
    assert table.region_of_country("IS") == "is-reykjavik"
    assert table.nearest_to("is-reykjavik")[:2] == ("is-reykjavik", "eu-north")


def test_an_extra_region_replaces_the_shipped_one_of_its_name() -> None:
    table = RegionTable.load([Region("eu-west", Point(-48.9, 2.4))])
    assert table.region_of_country("FR") == "eu-south"
    assert len(table.regions) == len(TABLE.regions)


def test_a_region_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'paris' is given twice"):
        RegionTable.load([Region("paris", PARIS), Region("paris", Point(33.7, -95.6))])


@pytest.mark.parametrize("name", ["", "eu west", "eu/west", "eu-wést", "x" * 65, "eu-west\n"])
def test_a_region_that_no_hint_can_spell_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="region: "):
        Region(name, PARIS)


def test_the_documented_settings_do_what_the_page_says() -> None:
    [settings] = re.findall(r"```toml\n(\[balancing\].*?)```", DOCS.read_text("utf-8"), re.S)
    entries = tomllib.loads(settings)["region"]
    table = RegionTable.load(Region(e["name"], Point(e["latitude"], e["longitude"])) for e in entries)
    assert table.nearest_to("eu-west")[1] == "eu-brussels"
    assert table.region_of_country("BE") == "eu-brussels"


def test_a_table_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        TABLE.regions = ()  # type: ignore[misc]


# Hints

EVERY_HINT = Hints(region="us-east", country="jp", path="eu-west", tenant="sa-east", ip="ZA")


@pytest.mark.parametrize(
    ("hints", "expected"),
    [
        pytest.param(EVERY_HINT, RegionHint(region="us-east", source="region"), id="query region"),
        pytest.param(
            Hints(country="jp", path="eu-west", tenant="sa-east", ip="ZA"),
            RegionHint(region="ap-northeast", source="country", country="JP"),
            id="query country",
        ),
        pytest.param(
            Hints(path="eu-west", tenant="sa-east", ip="ZA"),
            RegionHint(region="eu-west", source="path"),
            id="path",
        ),
        pytest.param(
            Hints(tenant="sa-east", ip="ZA"), RegionHint(region="sa-east", source="tenant"), id="tenant"
        ),
        pytest.param(Hints(ip="ZA"), RegionHint(region="af-south", source="ip", country="ZA"), id="address"),
        pytest.param(Hints(), RegionHint(), id="none"),
    ],
)
def test_the_first_hint_of_the_order_wins(hints: Hints, expected: RegionHint) -> None:
    assert resolve_hint(hints, TABLE) == expected


def test_an_unknown_hint_leaves_the_word_to_the_next() -> None:
    hint = resolve_hint(Hints(region="eu-wset", country="FR"), TABLE)
    assert hint == RegionHint(region="eu-west", source="country", country="FR")


@pytest.mark.parametrize("hints", [Hints(region="x"), Hints(country="ZZ"), Hints(region="x", path="y")])
def test_a_request_with_unknown_hints_only_is_flagged(hints: Hints) -> None:
    assert resolve_hint(hints, TABLE) == RegionHint(ignored=True)


def test_a_request_with_unknown_hints_is_flagged_also_when_the_operator_has_an_answer() -> None:
    hint = resolve_hint(Hints(region="x", tenant="eu-west"), TABLE)
    assert hint == RegionHint(region="eu-west", source="tenant", ignored=True)


def test_what_the_request_did_not_say_is_never_flagged() -> None:
    assert not resolve_hint(Hints(tenant="x", ip="XK"), TABLE).ignored


def test_an_empty_hint_is_no_hint() -> None:
    assert resolve_hint(Hints(region="", country="", path=""), TABLE) == RegionHint()


def test_a_region_of_the_fleet_is_known_without_coordinates() -> None:
    hints = Hints(region="basement", path="eu-west")
    assert resolve_hint(hints, TABLE, fleet={"basement"}).region == "basement"
    assert resolve_hint(hints, TABLE).region == "eu-west"


@pytest.mark.parametrize("hint", ["x" * 65, "eu west", "eu-west\n", "eu/west", "région", "٣"])
def test_a_malformed_hint_is_unknown_even_to_a_fleet_that_has_it(hint: str) -> None:
    assert resolve_hint(Hints(region=hint), TABLE, fleet={hint}) == RegionHint(ignored=True)


def test_a_hint_of_64_characters_is_long_enough_for_anybody() -> None:
    assert resolve_hint(Hints(region="x" * 64), TABLE, fleet={"x" * 64}).region == "x" * 64


@given(st.builds(Hints, region=st.text(), country=st.text(), path=st.text()))
def test_no_hint_whatever_breaks_a_request(hints: Hints) -> None:
    hint = resolve_hint(hints, TABLE)
    assert hint.region is None or TABLE.knows(hint.region)


@pytest.mark.parametrize("hints", [Hints(country="FR"), Hints(ip="FR")])
def test_a_country_means_the_nearest_region_that_has_sfus(hints: Hints) -> None:
    assert resolve_hint(hints, TABLE, fleet={"us-east", "eu-central", "basement"}).region == "eu-central"


def test_a_country_means_the_nearest_region_when_no_sfu_has_a_place() -> None:
    assert resolve_hint(Hints(country="FR"), TABLE, fleet={"basement"}).region == "eu-west"


@pytest.mark.parametrize(
    ("path", "query", "region", "ignored"),
    [
        ("us-east", {}, "us-east", False),
        ("us-east", {"country": "de"}, "eu-central", False),
        (None, {"region": "eu-wset", "country": "FR"}, "eu-west", False),
        (None, {"region": "sa-east"}, "sa-east", False),
        (None, {"region": "eu-wset"}, None, True),
    ],
)
def test_the_documented_requests_resolve_as_the_page_says(
    path: str | None, query: Mapping[str, str], region: str | None, ignored: bool
) -> None:
    hint = resolve_hint(Hints(path=path, **query), TABLE, fleet={"eu-west", "eu-central", "us-east"})
    assert (hint.region, hint.ignored) == (region, ignored)


# Fallback


def test_fallback_from_a_region_starts_there() -> None:
    hint = resolve_hint(Hints(region="us-west"), TABLE)
    assert TABLE.fallback_regions(hint)[:2] == ("us-west", "us-central")


def test_fallback_from_a_country_goes_by_distance_from_the_country() -> None:
    hint = resolve_hint(Hints(country="es"), TABLE, fleet={"eu-central"})
    walk = TABLE.fallback_regions(hint)
    assert hint.region == "eu-central"
    assert walk == TABLE.nearest_to_country("ES") != TABLE.nearest_to("eu-central")


@pytest.mark.parametrize("hints", [Hints(), Hints(region="basement")])
def test_fallback_has_no_order_without_a_place(hints: Hints) -> None:
    assert TABLE.fallback_regions(resolve_hint(hints, TABLE, fleet={"basement"})) == ()
