"""Troubles on demand, on real simulated SFUs."""

from collections.abc import AsyncIterator
from random import Random

import httpx
import pytest

from app.crypto.tokens import Key
from tests.support.waiting import eventually
from workers.simulator.channels import People
from workers.simulator.fleet import Fleet, FleetConfig
from workers.simulator.odoo import SimulatedOdoo
from workers.simulator.stage import KEYS, TROUBLES, Cue, Stage, key_help, read_script

NOBODY = People(per_channel=0)


class Hanging:
    """A Redis of which only is known whether it hangs."""

    def __init__(self) -> None:
        self.hangs = False

    def hang(self) -> None:
        self.hangs = True

    def go_on(self) -> None:
        self.hangs = False


class Scene:
    """A stage on three SFUs in two regions, and what it has said."""

    def __init__(self, fleet: Fleet, *, odoo: SimulatedOdoo | None = None) -> None:
        self.fleet = fleet
        self.redis = Hanging()
        self.said: list[str] = []
        self.stage = Stage(fleet, odoo, self.redis, say=self.said.append, random=Random(1))

    async def statuses(self) -> list[int]:
        """How each SFU answers a channel request without a token; 0: not at all."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return [await self._status(client, sfu.address) for sfu in self.fleet.sfus]

    async def _status(self, client: httpx.AsyncClient, address: str) -> int:
        try:
            return (await client.get(f"{address}/v1/channel")).status_code
        except httpx.TransportError:
            return 0


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """A scene without a gateway."""
    async with Fleet(FleetConfig(count=3, regions=("eu", "us"), people=NOBODY, seed=1)) as fleet:
        scene = Scene(fleet)
        async with scene.stage.running():
            yield scene


async def test_broken_and_dead_sfus_fail_and_are_mended(scene: Scene) -> None:
    assert await scene.statuses() == [401, 401, 401]
    await scene.stage.cause("break", "us")
    assert await scene.statuses() == [401, 500, 401]
    await scene.stage.cause("kill")
    assert sorted(await scene.statuses()) == [0, 401, 500]
    assert scene.said[0].endswith(" in us breaks: it answers 500 to every call")
    await scene.stage.cause("mend")
    assert await scene.statuses() == [401, 401, 401]


async def test_each_trouble_finds_an_sfu_that_has_none_and_says_when_none_is_left(scene: Scene) -> None:
    for _ in range(4):
        await scene.stage.cause("overload")
    assert [sfu.figures().cpu_usage for sfu in scene.fleet.sfus] == [0.97] * 3
    assert scene.said[-1].endswith("no SFU is left to overload")


async def test_an_sfu_joins_the_region_that_is_named(scene: Scene) -> None:
    await scene.stage.cause("add", "us")
    assert [sfu.config.region for sfu in scene.fleet.sfus] == ["eu", "us", "eu", "us"]
    assert (await scene.statuses())[-1] == 401
    assert len({sfu.key_text for sfu in scene.fleet.sfus}) == 4


async def test_a_hung_redis_answers_again_when_all_is_mended_or_over(scene: Scene) -> None:
    await scene.stage.cause("hang")
    assert scene.redis.hangs
    await scene.stage.cause("mend")
    assert not scene.redis.hangs
    async with scene.stage.running():
        await scene.stage.cause("hang")
    assert not scene.redis.hangs


async def test_a_flood_asks_for_the_region(scene: Scene) -> None:
    [sfu, *_] = scene.fleet.sfus
    odoo = SimulatedOdoo([sfu.address], Key(b"k" * 32), Random(1))
    flooded = Scene(scene.fleet, odoo=odoo)
    async with flooded.stage.running():
        await flooded.stage.cause("flood", "us")
        await eventually(lambda: "/v1/channel" in sfu.api.counts)
    assert any(call.query.get("region") == "us" for call in sfu.calls)


async def test_without_an_odoo_or_a_redis_the_stage_says_so(scene: Scene) -> None:
    stage = Stage(scene.fleet, None, None, say=scene.said.append, random=Random(1))
    for trouble in ("flood", "hang"):
        await stage.cause(trouble)
    assert "no key to sign calls with" in scene.said[0]
    assert "Redis cannot be hung: none was started here" in scene.said[1]


async def test_a_script_is_played_in_the_order_of_its_times(scene: Scene) -> None:
    await scene.stage.play(read_script("kill@0.02, break@0.01s ,add:us@0"))
    assert [("joins" in line, "breaks" in line, "dead" in line) for line in scene.said] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]


def test_a_script_names_troubles_regions_and_times() -> None:
    assert read_script("flood:us-east@10s,break@5") == [Cue("break", "", 5), Cue("flood", "us-east", 10)]
    assert read_script("") == []


@pytest.mark.parametrize("text", ["break", "explode@5s", "break@", "break@-1", "@5s"])
def test_a_part_of_a_script_that_is_wrong_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=f"'{text}' is none: give trouble"):
        read_script(f"add@1s,{text}")


def test_every_trouble_has_a_key_and_a_line_of_help() -> None:
    assert {name for name, _ in KEYS.values()} == TROUBLES
    assert len(key_help()) == len(KEYS) + 1
