"""The rescue works while its sweeper leads, and at no other time."""

import asyncio

from app.background import in_background
from app.errors import RegistryUnavailable
from app.rescue.service import while_leading
from tests.support.waiting import eventually


async def test_work_stops_with_the_lead_and_begins_anew_with_it() -> None:
    said: list[str] = []
    leads = False

    async def step() -> bool:
        said.append("step")
        return True

    async def stop() -> None:
        said.append("stop")

    async with in_background(while_leading(lambda: leads, step, stop)):
        await asyncio.sleep(0)
        assert said == []
        leads = True
        await eventually(lambda: "step" in said)
        leads = False
        await eventually(lambda: said[-1] == "stop")
        leads = True
        await eventually(lambda: said[-1] == "step")
    assert said[-1] == "stop"


async def test_a_step_that_finds_the_lease_lost_stops_the_work() -> None:
    said: list[str] = []

    async def step() -> bool:
        said.append("step")
        return False

    async def stop() -> None:
        said.append("stop")

    async with in_background(while_leading(lambda: True, step, stop)):
        await eventually(lambda: said[:2] == ["step", "stop"])


async def test_without_redis_the_work_waits() -> None:
    tries = 0

    async def step() -> None:
        nonlocal tries
        tries += 1
        raise RegistryUnavailable("away")

    async def stop() -> None:
        pass

    async with in_background(while_leading(lambda: True, step, stop)):
        await eventually(lambda: tries >= 2)
