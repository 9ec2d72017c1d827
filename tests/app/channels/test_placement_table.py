"""Every replica finds the same SFU, in proportion to weights, and a change moves only the names that it must."""

import random
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Sequence

import hypothesis.strategies as st
import pytest
from hypothesis import given

from app.channels.placement_table import Entry, PlacementTable

NAMES = [f"channel:{number}" for number in range(3_000)]

weights = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=4), st.floats(0.001, 1e6), min_size=1, max_size=8
)


def entries(weights: dict[str, float], region: str = "eu") -> list[Entry]:
    return [Entry(address, region, weight) for address, weight in weights.items()]


def table(weights: dict[str, float]) -> PlacementTable:
    return PlacementTable(entries(weights))


def fleet(count: int, regions: Sequence[str] = ("eu",), seed: int = 1) -> list[Entry]:
    """SFUs of one capacity whose free shares differ, as a snapshot has them."""
    draw = random.Random(seed)
    return [
        Entry(
            f"http://sfu{number}.test:8070",
            regions[number % len(regions)],
            draw.choice((250, 500, 750, 1_000)),
        )
        for number in range(count)
    ]


def steps_per_placement(entries: Iterable[Entry], regions: Sequence[str] | None = None) -> float:
    table = PlacementTable(entries)
    for name in NAMES:
        table.find(name, regions)
    return table.steps / len(NAMES)


@given(weights=weights, data=st.data(), name=st.text())
def test_the_order_of_the_sfus_does_not_matter(
    weights: dict[str, float], data: st.DataObject, name: str
) -> None:
    shuffled = dict(data.draw(st.permutations(list(weights.items()))))
    assert table(shuffled).find(name) == table(weights).find(name)


@given(weights=weights, later=weights, name=st.text())
def test_a_table_that_was_updated_finds_as_one_that_was_made_anew(
    weights: dict[str, float], later: dict[str, float], name: str
) -> None:
    updated = table(weights)
    updated.update(entries(later, "us"), gone=weights.keys() - later.keys())
    fresh = PlacementTable(entries(later, "us"))
    assert updated.find(name) == fresh.find(name)
    assert updated.find(name, ["us"]) == fresh.find(name)
    assert updated.find(name, ["eu"]) is None
    assert len(updated) == len(fresh)


@given(weights=weights, data=st.data(), name=st.text())
def test_without_an_sfu_only_its_names_move(
    weights: dict[str, float], data: st.DataObject, name: str
) -> None:
    gone = data.draw(st.sampled_from(sorted(weights)))
    before, partial = table(weights).find(name), table(weights)
    partial.update(gone=[gone])
    if before != gone:
        assert partial.find(name) == before
    else:
        assert partial.find(name) == table(weights).find(name, skip=[gone])


@given(weights=weights, data=st.data(), name=st.text())
def test_more_weight_moves_names_to_the_sfu_only(
    weights: dict[str, float], data: st.DataObject, name: str
) -> None:
    heavier = data.draw(st.sampled_from(sorted(weights)))
    before, after = table(weights).find(name), table(weights | {heavier: 3 * weights[heavier]}).find(name)
    assert after in (before, heavier)


@given(weights=weights, name=st.text())
def test_skipping_finds_every_sfu_once(weights: dict[str, float], name: str) -> None:
    found: list[str] = []
    full = table(weights)
    while (address := full.find(name, skip=found)) is not None:
        found.append(address)
    assert sorted(found) == sorted(weights)


def test_names_are_spread_in_proportion_to_weights() -> None:
    weights = {"small": 1.0, "medium": 2.0, "large": 5.0, "huge": 200.0}
    found = Counter(table(weights).find(name) for name in NAMES)
    for address, weight in weights.items():
        assert found[address] / len(NAMES) == pytest.approx(weight / 208, abs=0.02)


def test_equal_sfus_get_about_equal_shares() -> None:
    twenty = PlacementTable(Entry(f"http://sfu{number}:8070", "eu", 1_000) for number in range(20))
    found = Counter(twenty.find(f"issuer {number}") for number in range(20_000))
    assert max(found.values()) / 1_000 < 1.2


def test_the_same_name_gets_the_same_sfu_in_every_process() -> None:
    found = [PlacementTable(fleet(20)).find(f"https://odoo.example:channel:{number}") for number in range(3)]
    assert found == ["http://sfu13.test:8070", "http://sfu10.test:8070", "http://sfu3.test:8070"]


@pytest.mark.parametrize("regions", [None, ["eu"], ["us", "eu"]])
def test_ten_thousand_sfus_cost_at_most_one_and_a_half_times_the_steps_of_twenty(
    regions: Sequence[str] | None,
) -> None:
    small = steps_per_placement(fleet(20, ("eu", "us")), regions)
    large = steps_per_placement(fleet(10_000, ("eu", "us")), regions)
    assert large <= 1.5 * small
    assert large < 40


def test_a_region_is_found_without_looking_at_the_others() -> None:
    regions = [f"region {number}" for number in range(50)]
    assert steps_per_placement(fleet(5_000, regions), ["region 7"]) < 20
    assert PlacementTable(fleet(100, regions)).find("name", ["nowhere"]) is None


def test_an_sfu_of_another_size_makes_no_search_long() -> None:
    odd = [*fleet(2_000), Entry("http://giant:8070", "eu", 1e9), Entry("http://dwarf:8070", "eu", 1)]
    assert steps_per_placement(odd) < 60


def test_a_fleet_of_one_region_has_its_points_once() -> None:
    def held(regions: Sequence[str]) -> int:
        sfus = fleet(1_000, regions)
        tracemalloc.start()
        table = PlacementTable(sfus)
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(table) == len(sfus)
        return size

    points = 1_000 * 32 * 8
    assert held(["eu"]) < held(["eu", "us"]) - 0.9 * points


def test_an_empty_table_finds_nothing() -> None:
    assert PlacementTable().find("name") is None
