"""return_ejected.lua: SFUs come back when their ejection is over, and are probed shortly before."""

import pytest

from tests.lua.fleet import A, B, C, D, Fleet

AHEAD_MS = 2_500
OPEN_MS = 30_000


async def ejected(fleet: Fleet, address: str) -> None:
    await fleet.beat(address)
    await fleet.fail(address, times=5)


async def test_each_is_handed_out_once_per_lease(fleet: Fleet) -> None:
    for address in (C, D):
        await fleet.beat(address)
    await ejected(fleet, A)
    fleet.wait(10_000)
    await ejected(fleet, B)
    fleet.wait(20_000 - AHEAD_MS - 1)
    await fleet.beat(A)
    assert await fleet.registry.sweeps.claim_probes(1_000) == []
    fleet.wait(1)
    assert await fleet.registry.sweeps.claim_probes(1_000) == [A]
    assert await fleet.registry.sweeps.claim_probes(1_000) == []
    fleet.wait(1_000)
    assert await fleet.registry.sweeps.claim_probes(10_000) == [A]


async def test_an_sfu_that_nobody_probes_returns_all_the_same(fleet: Fleet) -> None:
    await ejected(fleet, A)
    fleet.wait(OPEN_MS - 1)
    await fleet.beat(A)
    fleet.wait(1)
    assert await fleet.state(A) == "half-open"
    await fleet.registry.sweeps.claim_probes(1_000)
    assert await fleet.listed() == await fleet.listed("eu") == {A}
    assert (await fleet.events(A))[-1] == "up recovered"


async def test_without_a_sweeper_a_request_brings_it_back(fleet: Fleet) -> None:
    await ejected(fleet, A)
    await fleet.beat(B, sessions=500)
    fleet.wait(OPEN_MS - 1)
    await fleet.beat(A)
    await fleet.beat(B, sessions=500)
    assert (await fleet.select("before")).address == B
    fleet.wait(1)
    returned = await fleet.select("after")
    assert (returned.address, returned.reason) == (A, "least-load")


async def test_a_static_sfu_without_figures_returns_after_one_failure(fleet: Fleet) -> None:
    await fleet.beat(A, is_fresh=False)
    await fleet.beat(B, sessions=500)
    await fleet.fail(A)
    for _ in range(3):
        fleet.wait(OPEN_MS // 3)
        await fleet.beat(A, is_fresh=False)
        await fleet.beat(B, sessions=500)
    assert (await fleet.place()).address == A
    assert await fleet.state(A) == "selectable"


async def test_a_sweeper_takes_a_few_at_a_time(fleet: Fleet) -> None:
    addresses = {f"http://{number}.test" for number in range(30)}
    for address in addresses:
        await ejected(fleet, address)
    fleet.wait(OPEN_MS - AHEAD_MS)
    first = await fleet.registry.sweeps.claim_probes(5_000)
    rest = await fleet.registry.sweeps.claim_probes(5_000)
    assert (len(first), len(rest), {*first, *rest}) == (25, 5, addresses)


@pytest.mark.parametrize("count", [5, 30])
async def test_all_that_are_due_come_back_step_by_step(fleet: Fleet, count: int) -> None:
    for number in range(count):
        await ejected(fleet, f"http://{number}.test")
    fleet.wait(OPEN_MS - 1)
    for number in range(count):
        await fleet.beat(f"http://{number}.test")
    fleet.wait(1)
    for _ in range(2):
        await fleet.registry.sweeps.claim_probes(1_000)
    assert len(await fleet.listed()) == count
