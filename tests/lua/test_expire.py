"""expire.lua: silent SFUs are down, never early, once; unless most of the fleet is silent at once."""

import asyncio

from app.registry.sfus import Sweep
from tests.lua.fleet import KEY, A, B, Fleet

THRESHOLD_MS = 30_000


def sfus(count: int) -> list[str]:
    return [f"http://{number:03}.test:8070" for number in range(count)]


async def beat_all(fleet: Fleet, addresses: list[str]) -> None:
    for address in addresses:
        await fleet.beat(address)


async def test_never_early(fleet: Fleet) -> None:
    await fleet.beat()
    fleet.wait(THRESHOLD_MS - 1)
    assert await fleet.registry.sweeps.expire() == Sweep(0, has_more=False)
    fleet.wait(1)
    assert await fleet.registry.sweeps.expire() == Sweep(1, has_more=False)
    assert await fleet.events(A) == ["up registered", "down expired"]
    assert (await fleet.registry.fleet.describe(A)).down_reason == "expired"


async def test_a_heartbeat_in_time_postpones_it(fleet: Fleet) -> None:
    await fleet.beat()
    fleet.wait(THRESHOLD_MS - 1)
    await fleet.beat()
    fleet.wait(THRESHOLD_MS - 1)
    assert (await fleet.registry.sweeps.expire()).count == 0


async def test_one_event_per_life_whoever_asks(fleet: Fleet) -> None:
    await beat_all(fleet, [A, B])
    fleet.wait(THRESHOLD_MS)
    sweeps = await asyncio.gather(*(fleet.registry.sweeps.expire() for _ in range(8)))
    assert sum(sweep.count for sweep in sweeps) == 2
    await fleet.registry.registrations.sign_off(A, KEY)
    assert await fleet.events(A) == ["up registered", "down expired"]


async def test_an_expired_sfu_is_in_no_index(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B, cpu=1.0)
    fleet.wait(THRESHOLD_MS)
    await fleet.registry.sweeps.expire()
    keys = fleet.keys
    gone = (keys.deadlines, keys.load(), keys.load("eu"), keys.overloaded(), keys.overloaded("eu"))
    assert await fleet.client.exists(*gone) == 0


async def test_a_few_at_a_time(fleet: Fleet) -> None:
    silent = sfus(30)
    await beat_all(fleet, silent)
    fleet.wait(20_000)
    await beat_all(fleet, [f"{address}/living" for address in sfus(70)])
    fleet.wait(10_000)
    assert await fleet.registry.sweeps.expire() == Sweep(25, has_more=True)
    assert await fleet.registry.sweeps.expire() == Sweep(5, has_more=False)


# Mass expiry


async def silenced(fleet: Fleet, silent: int, living: int) -> None:
    """A fleet of which `silent` SFUs are due and `living` have just reported."""
    await beat_all(fleet, sfus(silent))
    fleet.wait(THRESHOLD_MS)
    await beat_all(fleet, [f"{address}/living" for address in sfus(living)])


async def test_more_than_half_of_five_are_held_for_one_more_threshold(fleet: Fleet) -> None:
    await silenced(fleet, silent=3, living=2)
    until = fleet.now_ms + THRESHOLD_MS
    for _ in range(3):
        assert await fleet.registry.sweeps.expire() == Sweep(0, has_more=False, expiry_suspended_until=until)
        fleet.wait(1_000)
    assert await fleet.events("") == ["mass-expiry 3 of 5 silent"]
    assert (await fleet.registry.fleet.snapshot()).is_held


async def test_after_the_hold_they_expire(fleet: Fleet) -> None:
    await silenced(fleet, silent=40, living=0)
    await fleet.registry.sweeps.expire()
    fleet.wait(THRESHOLD_MS - 1)
    assert (await fleet.registry.sweeps.expire()).count == 0
    fleet.wait(1)
    assert await fleet.registry.sweeps.expire() == Sweep(25, has_more=True)
    assert await fleet.registry.sweeps.expire() == Sweep(15, has_more=False)
    await fleet.registry.sweeps.expire()
    assert not (await fleet.registry.fleet.snapshot()).is_held
    assert await fleet.events("") == ["mass-expiry 40 of 40 silent"]


async def test_who_reports_during_the_hold_has_never_been_down(fleet: Fleet) -> None:
    await silenced(fleet, silent=5, living=0)
    await fleet.registry.sweeps.expire()
    fleet.wait(10_000)
    await beat_all(fleet, sfus(4))
    assert await fleet.registry.sweeps.expire() == Sweep(1, has_more=False)
    assert [len(await fleet.events(address)) for address in sfus(5)] == [1, 1, 1, 1, 2]


async def test_the_next_mass_expiry_is_held_anew(fleet: Fleet) -> None:
    for _ in range(2):
        await silenced(fleet, silent=5, living=0)
        assert (await fleet.registry.sweeps.expire()).expiry_suspended_until == fleet.now_ms + THRESHOLD_MS
        await beat_all(fleet, sfus(5))
        await fleet.registry.sweeps.expire()
    assert await fleet.events("") == ["mass-expiry 5 of 5 silent"] * 2


async def test_those_about_to_expire_count_as_silent(fleet: Fleet) -> None:
    await beat_all(fleet, sfus(1))
    fleet.wait(10_000)
    await beat_all(fleet, [f"{address}/later" for address in sfus(4)])
    fleet.wait(20_000)
    assert (await fleet.registry.sweeps.expire()).expiry_suspended_until is not None


async def test_half_of_a_fleet_is_not_most_of_it(fleet: Fleet) -> None:
    await silenced(fleet, silent=3, living=3)
    assert (await fleet.registry.sweeps.expire()).count == 3


async def test_a_small_fleet_is_not_held(fleet: Fleet) -> None:
    await silenced(fleet, silent=4, living=0)
    assert (await fleet.registry.sweeps.expire()).count == 4


async def test_a_suspension_that_nobody_ended_does_not_void_the_next_one(fleet: Fleet) -> None:
    await silenced(fleet, silent=5, living=0)
    await fleet.registry.sweeps.expire()
    fleet.wait(3_600_000)
    assert (await fleet.registry.sweeps.expire()).expiry_suspended_until == fleet.now_ms + THRESHOLD_MS
    assert await fleet.client.pttl(fleet.keys.expiry_suspended_until) > 0


# The lost

LOST_TTL_MS = 600_000


async def test_the_lost_stay_listed_for_a_while(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.registry.registrations.sign_off(A, KEY)
    fleet.wait(LOST_TTL_MS - 1)
    await fleet.registry.sweeps.expire()
    assert (await fleet.registry.fleet.describe(A)).state == "signed-off"
    fleet.wait(1)
    await fleet.registry.sweeps.expire()
    keys = fleet.keys
    assert await fleet.client.exists(keys.sfus, keys.lost, keys.node(A)) == 0


async def test_an_sfu_that_returned_is_not_forgotten(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.registry.registrations.sign_off(A, KEY)
    await fleet.beat(A)
    fleet.wait(LOST_TTL_MS)
    await fleet.beat(A)
    await fleet.registry.sweeps.expire()
    assert (await fleet.registry.fleet.describe(A)).state == "selectable"


async def test_an_sfu_that_ends_shows_its_last_figures_and_no_key(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=7, channels=2)
    fleet.wait(THRESHOLD_MS)
    await fleet.registry.sweeps.expire()
    status = await fleet.registry.fleet.describe(A)
    assert (status.sessions, status.channels, status.reason) == (7, 2, "expired")
    assert await fleet.registry.key_of(A) is None


async def test_an_sfu_whose_hash_has_run_out_unswept_leaves_no_trace(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.client.delete(fleet.keys.node(A))
    fleet.wait(fleet.policy.threshold_ms)
    assert (await fleet.registry.sweeps.expire()).count == 1
    assert await fleet.registry.fleet.sfus() == []
    assert await fleet.client.exists(fleet.keys.deadlines, fleet.keys.sfus) == 0
