"""From hints to the groups of regions that a placement tries in order."""

from collections.abc import Collection
from typing import Literal

import pytest

from app.auth.tenants import Tenant
from app.errors import RegistryUnavailable
from app.regions.choice import RegionChoice, RegionChooser
from app.regions.geoip import CountryByIp
from app.regions.table import RegionTable
from app.registry.placements import ANYWHERE

TABLE = RegionTable.load()
FREE = Tenant("free", ())


class FrenchReader:
    """A country database that puts everybody in France."""

    def get(self, _ip_address: str, /) -> object:
        return {"country": {"iso_code": "FR"}}

    def close(self) -> None:
        """Nothing to let go."""


class Registry:
    """The part of the registry that is asked: which regions have SFUs that this replica has not seen yet."""

    def __init__(self, new: Collection[str] = (), *, is_away: bool = False) -> None:
        self.asked: list[str] = []
        self._new = new
        self._is_away = is_away

    async def has_region(self, region: str) -> bool:
        self.asked.append(region)
        if self._is_away:
            raise RegistryUnavailable("away")
        return region in self._new


async def choose(
    tenant: Tenant = FREE,
    *,
    fleet: Collection[str] = (),
    registry: Registry | None = None,
    fallback: Literal["any", "nearest"] = "any",
    with_geoip: bool = False,
    region: str | None = None,
    country: str | None = None,
    path: str | None = None,
) -> RegionChoice:
    """Where a channel of `tenant` may go, asked for with these hints."""
    chooser = RegionChooser(
        TABLE,
        fallback,
        lambda: frozenset(fleet),
        (registry or Registry()).has_region,
        CountryByIp(FrenchReader()) if with_geoip else None,
    )
    return await chooser.choose(tenant, "192.0.2.7", region=region, country=country, path=path)


async def test_without_a_hint_a_channel_may_go_anywhere() -> None:
    assert (await choose()).groups == ((ANYWHERE,),)


async def test_a_hinted_region_comes_first_and_then_all() -> None:
    assert (await choose(region="eu-west")).groups == (("eu-west",), (ANYWHERE,))


async def test_an_unknown_hint_counts_as_none_and_is_noted() -> None:
    choice = await choose(region="eu-wset")
    assert choice.groups == ((ANYWHERE,),)
    assert choice.hint.ignored


async def test_hints_have_their_order() -> None:
    tenant = Tenant("other", (), region="sa-east")
    rest = {"tenant": tenant, "with_geoip": True}
    everything = {"region": "us-east", "country": "JP", "path": "eu-north"}
    for dropped, expected in [
        (0, "us-east"),
        (1, "ap-northeast"),
        (2, "eu-north"),
        (3, "sa-east"),
    ]:
        hints = dict(list(everything.items())[dropped:])
        assert (await choose(**rest, **hints)).hint.region == expected  # type: ignore[arg-type]
    assert (await choose(with_geoip=True)).hint.region == "eu-west"


async def test_a_country_means_the_nearest_region_of_the_fleet() -> None:
    choice = await choose(country="FR", fleet={"eu-central", "us-east"})
    assert choice.groups[:2] == (("eu-central",), ("us-east",))
    assert choice.hint.region == "eu-central"


async def test_a_country_walks_the_regions_by_distance_until_one_has_a_selectable_sfu() -> None:
    """The registry may know regions that this replica has not seen, and those it has seen may be full by now."""
    choice = await choose(country="US")
    order = [group[0] for group in choice.groups]
    assert order.index("us-central") < order.index("us-east") < order.index("eu-west")
    assert order[-1] == ANYWHERE
    seen = await choose(country="US", fleet={"eu-west", "us-east"})
    assert seen.groups[:3] == (("us-east",), ("eu-west",), ("us-central",))
    assert set(seen.groups) == set(choice.groups)


async def test_the_nearest_fallback_walks_regions_by_distance_and_then_takes_any() -> None:
    groups = (await choose(region="eu-west", fallback="nearest")).groups
    assert groups[:3] == (("eu-west",), ("eu-central",), ("eu-south",))
    assert groups[-1] == (ANYWHERE,)
    assert len(set(groups)) == len(groups) == len(TABLE.regions) + 1


async def test_the_nearest_fallback_has_nowhere_to_start_without_a_hint() -> None:
    assert (await choose(fallback="nearest")).groups == ((ANYWHERE,),)


# Limits


async def test_a_limit_is_hard() -> None:
    tenant = Tenant("eu", (), region_allow=("eu-west", "eu-central"))
    assert (await choose(tenant)).groups == (("eu-west", "eu-central"),)
    assert (await choose(tenant, region="us-east")).groups == (("eu-west", "eu-central"),)
    assert (await choose(tenant, region="eu-central")).groups == (("eu-central",), ("eu-west", "eu-central"))


async def test_the_walk_stays_within_the_limit() -> None:
    tenant = Tenant("eu", (), region_allow=("eu-central", "eu-west"))
    groups = (await choose(tenant, region="us-east", fallback="nearest")).groups
    assert groups == (("eu-west",), ("eu-central",), ("eu-central", "eu-west"))


async def test_a_limit_without_any_region_leaves_none() -> None:
    tenant = Tenant("nowhere", (), region_allow=())
    assert (await choose(tenant, region="eu-west", fallback="nearest")).groups == ((),)


async def test_a_country_means_a_region_within_the_limit() -> None:
    tenant = Tenant("us", (), region_allow=("us-east",))
    choice = await choose(tenant, country="FR", fleet={"eu-west", "us-east"})
    assert choice.groups[0] == ("us-east",)


# Regions that only the fleet knows


async def test_a_region_of_the_fleet_needs_no_look_up() -> None:
    registry = Registry()
    choice = await choose(region="basement", fleet={"basement"}, registry=registry)
    assert choice.groups[0] == ("basement",)
    assert registry.asked == []


async def test_a_region_that_is_new_to_this_replica_is_looked_up() -> None:
    registry = Registry(new={"basement"})
    assert (await choose(region="basement", registry=registry)).groups[0] == ("basement",)
    assert (await choose(path="basement", registry=registry)).groups[0] == ("basement",)


@pytest.mark.parametrize("region", ["eu-west", "x" * 65, ""])
async def test_what_is_known_or_impossible_is_not_looked_up(region: str) -> None:
    registry = Registry(is_away=True)
    await choose(region=region, registry=registry)
    assert registry.asked == []


async def test_while_redis_is_away_a_new_region_is_an_unknown_one() -> None:
    choice = await choose(region="basement", registry=Registry(is_away=True))
    assert choice.groups == ((ANYWHERE,),)
