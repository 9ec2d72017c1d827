"""heartbeat.lua: registration, the lease, the life and its events."""

import base64
from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from app.errors import AddressLeased, NoSfuAvailable, RateLimited
from tests.lua.fleet import KEY, OTHER_KEY, SEALING, A, B, Fleet

THRESHOLD_MS = 30_000


async def test_the_first_heartbeat_registers(fleet: Fleet) -> None:
    answer = await fleet.beat(A, channels=12, sessions=45, cpu=0.35, memory=0.48)
    assert (answer.is_new, answer.generation, answer.is_draining) == (True, 1, False)
    assert await fleet.events(A) == ["up registered"]
    assert await fleet.listed() == await fleet.listed("eu") == {A}


async def test_a_person_can_read_the_hash(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat(A, channels=12, sessions=45, cpu=0.35, memory=0.48, public_url="https://a.example")
    shown = await redis.hgetall(fleet.keys.node(A))
    expected = {
        "region": "eu",
        "announced": "up",
        "channels": "12",
        "sessions": "45",
        "max_sessions": "1000",
        "cpu": "0.35",
        "memory": "0.48",
        "public_url": "https://a.example",
        "registered_at": str(fleet.now_ms),
        "reported_at": str(fleet.now_ms),
    }
    assert {name: shown[name] for name in expected} == expected


async def test_no_secret_is_stored(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat()
    stored = str(await redis.hgetall(fleet.keys.node(A)))
    for secret in (KEY.secret, base64.b64encode(KEY.secret), base64.urlsafe_b64encode(KEY.secret)):
        assert secret.decode() not in stored
        assert secret.hex() not in stored
    assert fleet.registry.open_key(await fleet.select()) == KEY


async def test_a_renewed_life_says_nothing(fleet: Fleet) -> None:
    await fleet.beat()
    fleet.wait(THRESHOLD_MS - 1)
    answer = await fleet.beat()
    assert (answer.is_new, answer.generation) == (False, 1)
    assert await fleet.events(A) == ["up registered"]


async def test_a_life_after_sign_off_is_another_one(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.registry.registrations.sign_off(A, KEY)
    answer = await fleet.beat()
    assert (answer.is_new, answer.generation) == (True, 3)
    assert await fleet.events(A) == ["up registered", "down signed-off", "up returned"]


async def test_a_silent_sfu_that_the_sweeper_has_not_ended_goes_on(fleet: Fleet) -> None:
    await fleet.beat(sessions=1)
    await fleet.place()
    await fleet.registry.fleet.drain(A)
    fleet.wait(THRESHOLD_MS)
    assert await fleet.state() == "expired"
    answer = await fleet.beat(sessions=1)
    assert (answer.is_new, answer.generation, answer.is_draining) == (False, 1, True)
    assert await fleet.events(A) == ["up registered", "draining operator"]
    assert (await fleet.select(id="next")).reason == "sticky"


async def test_another_key_at_the_address_of_a_silent_sfu_inherits_nothing(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.place()
    await fleet.beat(B, sessions=500)
    await fleet.fail(A, times=5)
    await fleet.registry.fleet.drain(A)
    fleet.wait(THRESHOLD_MS)
    await fleet.beat(B, sessions=500)
    answer = await fleet.beat(A, key=OTHER_KEY, region="us")
    assert (answer.is_new, answer.is_draining) == (True, False)
    status = await fleet.registry.fleet.describe(A)
    assert (status.state, status.failures, status.ejections) == ("selectable", 0, 0)
    assert (await fleet.events(A))[-2:] == ["down expired", "up returned"]
    with pytest.raises(NoSfuAvailable):
        await fleet.select(id="next", groups=(("us",),), exclude=(A,))
    assert (await fleet.select(id="last")).reason == "least-load"


# Instances


async def test_another_process_under_the_same_key_is_a_restart_in_place(fleet: Fleet) -> None:
    await fleet.beat(A, instance="one", sessions=5)
    await fleet.place()
    await fleet.beat(B, sessions=500)
    await fleet.fail(A, times=5)
    answer = await fleet.beat(A, instance="two")
    assert (answer.is_new, answer.generation) == (True, 3)
    assert await fleet.events(A) == [
        "up registered",
        "down failed",
        "breaker-open failed",
        "restarted instance",
    ]
    status = await fleet.registry.fleet.describe(A)
    assert (status.state, status.failures, status.reserved) == ("selectable", 0, 0)
    assert await fleet.registry.rescues.calls_of(A) == ["default:issuer"]
    await fleet.beat(A, instance="two", sessions=900)
    moved = await fleet.select()
    assert (moved.address, moved.reason) == (B, "least-load")


async def test_a_process_without_an_id_restarts_nothing(fleet: Fleet) -> None:
    for instance in ("", "one", "", "one"):
        answer = await fleet.beat(A, instance=instance)
        assert answer.generation == 1
    assert await fleet.events(A) == ["up registered"]


async def test_two_processes_that_alternate_share_an_address(fleet: Fleet) -> None:
    for number in range(20):
        await fleet.beat(A, instance=("one", "two", "three")[number % 3])
        fleet.wait(5_000)
    assert await fleet.events(A) == [
        "up registered",
        "restarted instance",
        "restarted instance",
        "address_shared instance",
    ]
    assert (await fleet.registry.fleet.describe(A)).is_shared
    for _ in range(10):
        fleet.wait(10_000)
        await fleet.beat(A, instance="one")
    assert not (await fleet.registry.fleet.describe(A)).is_shared


async def test_another_key_is_refused_while_the_address_is_leased(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=1)
    fleet.wait(THRESHOLD_MS - 1)
    with pytest.raises(AddressLeased):
        await fleet.beat(A, key=OTHER_KEY, sessions=2)
    assert (await fleet.registry.fleet.describe(A)).sessions == 1
    assert fleet.registry.open_key(await fleet.select()) == KEY


async def test_an_address_is_free_after_expiry(fleet: Fleet) -> None:
    await fleet.beat(A)
    fleet.wait(THRESHOLD_MS)
    await fleet.beat(A, key=OTHER_KEY)
    assert fleet.registry.open_key(await fleet.select()) == OTHER_KEY


async def test_an_address_is_free_after_sign_off(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.registry.registrations.sign_off(A, KEY)
    assert (await fleet.beat(A, key=OTHER_KEY)).is_new


async def test_a_rotated_sealing_key_takes_over_the_lease_of_the_same_sfu_key(
    fleet: Fleet, make_fleet: Callable[..., Fleet]
) -> None:
    await fleet.beat(A)
    rotated = make_fleet(sealing=(b"sealing-key-0002", SEALING))
    assert not (await rotated.beat(A)).is_new
    with pytest.raises(AddressLeased):
        await rotated.beat(A, key=OTHER_KEY)
    assert rotated.registry.open_key(await rotated.select()) == KEY


async def test_an_address_that_sends_too_often_has_to_wait(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(heartbeat_every_ms=100, heartbeat_burst=2)
    for _ in range(2):
        await fleet.beat(A, sessions=1)
    with pytest.raises(RateLimited, match="in 100 ms"):
        await fleet.beat(A, sessions=2)
    assert (await fleet.registry.fleet.describe(A)).sessions == 1
    await fleet.beat(B)
    fleet.wait(100)
    await fleet.beat(A, sessions=2)
    with pytest.raises(RateLimited):
        await fleet.beat(A, sessions=3)


async def test_another_region_moves_the_sfu(fleet: Fleet) -> None:
    await fleet.beat(A, region="eu")
    await fleet.beat(A, region="us")
    assert (await fleet.listed("eu"), await fleet.listed("us")) == (set(), {A})
    assert not await fleet.registry.has_region("eu")
    assert await fleet.registry.has_region("us")
    with pytest.raises(NoSfuAvailable):
        await fleet.select(groups=(("eu",),))
    assert await fleet.events(A) == ["up registered"]


async def test_an_overloaded_sfu_moves_too(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat(A, region="eu", cpu=1.0)
    await fleet.beat(A, region="us", cpu=1.0)
    assert await redis.zrange(fleet.keys.overloaded("eu"), 0, -1) == []
    assert await redis.zrange(fleet.keys.overloaded("us"), 0, -1) == [A]


async def test_an_overloaded_sfu_that_expired_unswept_and_returns_is_in_one_index(
    fleet: Fleet, redis: Redis
) -> None:
    await fleet.beat(A, cpu=1.0)
    fleet.wait(THRESHOLD_MS)
    await fleet.beat(A)
    assert await redis.exists(fleet.keys.overloaded(), fleet.keys.overloaded("eu")) == 0
    assert await fleet.listed() == await fleet.listed("eu") == {A}


async def test_an_ejected_sfu_that_moves_is_in_one_index(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat(A)
    await fleet.fail(A)
    await fleet.beat(A, region="us", is_fresh=False)
    assert await redis.zrange(fleet.keys.ejected("us"), 0, -1) == [A]
    assert await redis.exists(fleet.keys.ejected("eu"), fleet.keys.load("eu"), fleet.keys.load("us")) == 0


async def test_a_clock_that_steps_back_never_refuses_heartbeats(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(heartbeat_every_ms=100, heartbeat_burst=5)
    for _ in range(3):
        await fleet.beat()
    fleet.wait(-60_000)
    for _ in range(10):
        await fleet.beat()
        fleet.wait(1_000)


async def test_old_figures_stay_when_the_report_has_no_fresh_ones(fleet: Fleet) -> None:
    await fleet.beat(A, channels=3, sessions=12, cpu=0.5, memory=0.25)
    await fleet.beat(A, is_fresh=False)
    status = await fleet.registry.fleet.describe(A)
    assert (status.channels, status.sessions, status.cpu, status.memory) == (3, 12, 0.5, 0.25)


async def test_a_report_ends_a_mark_down(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A)
    await fleet.beat(A, is_fresh=False)
    assert await fleet.state(A) == "ejected"
    await fleet.beat(A)
    assert await fleet.state(A) == "selectable"
    assert await fleet.events(A) == ["up registered", "down failed", "up recovered"]


async def test_an_sfu_may_drain_itself(fleet: Fleet) -> None:
    assert (await fleet.beat(A, sessions=1, is_draining=True)).is_draining
    with pytest.raises(NoSfuAvailable):
        await fleet.select()
    assert not (await fleet.beat(A, sessions=1)).is_draining
    assert await fleet.events(A) == ["up registered", "draining sfu", "up resumed"]


async def test_a_drained_sfu_says_so_once(fleet: Fleet) -> None:
    for sessions in (1, 0, 0, 1, 0):
        await fleet.beat(A, sessions=sessions, is_draining=True)
    assert await fleet.events(A) == ["up registered", "draining sfu", "drained empty"]


async def test_an_sfu_whose_people_are_still_joining_is_not_drained(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.place()
    await fleet.beat(A, is_draining=True)
    assert "drained empty" not in await fleet.events(A)
    fleet.wait(THRESHOLD_MS - 1)
    await fleet.beat(A, is_draining=True)
    fleet.wait(THRESHOLD_MS - 1)
    await fleet.beat(A, is_draining=True)
    assert "drained empty" in await fleet.events(A)


async def test_a_heartbeat_does_not_shorten_an_ejection(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A, times=5)
    await fleet.beat(A)
    assert await fleet.state(A) == "ejected"
    assert await fleet.listed() == {B}


async def test_an_ejection_ends_with_its_registration(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat(A)
    await fleet.fail(A, times=5)
    await fleet.registry.registrations.sign_off(A, KEY)
    await fleet.beat(A)
    assert await fleet.state(A) == "selectable"
    assert await redis.exists(fleet.keys.ejected(), fleet.keys.returning) == 0


async def test_a_wrong_key_stays_wrong_until_there_is_another(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A, "misconfigured")
    await fleet.beat(A)
    status = await fleet.registry.fleet.describe(A)
    assert (status.state, status.reason) == ("ejected", "misconfigured")
    await fleet.registry.registrations.sign_off(A, KEY)
    await fleet.beat(A, key=OTHER_KEY)
    assert await fleet.state(A) == "selectable"


async def test_a_region_without_a_selectable_sfu_left_is_overloaded_once(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    for _ in range(2):
        await fleet.beat(A, cpu=1.0)
        await fleet.beat(B, sessions=1_000)
    assert await fleet.events(A) == ["up registered"]
    assert await fleet.events(B) == ["up registered", "overloaded sessions"]
    await fleet.beat(A)
    assert await fleet.listed() == {A}


async def test_an_sfu_at_the_edge_of_overload_says_so_once(fleet: Fleet) -> None:
    await fleet.beat(A, max_sessions=8)
    for number in range(10):
        await fleet.select("kept" if number == 0 else f"{number}")
        if number:
            await fleet.report("unblamed", A, f"{number}")
    assert (await fleet.events(A)).count("overloaded sessions") == 1
    await fleet.beat(A, max_sessions=1_000)
    await fleet.beat(A, max_sessions=1)
    assert (await fleet.events(A)).count("overloaded sessions") == 2


async def test_an_empty_registry_fills_again(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat(A)
    await fleet.place()
    await redis.flushall()
    assert (await fleet.beat(A)).is_new
    assert (await fleet.select()).address == A
    assert await fleet.events(A) == ["up registered"]


async def test_heartbeats_mend_lost_indexes(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat()
    keys = fleet.keys
    await redis.delete(keys.load(), keys.load("eu"), keys.deadlines, keys.round_robin())
    await fleet.beat()
    assert await fleet.listed() == await fleet.listed("eu") == {A}
    assert await fleet.registry.has_region("eu")
    fleet.wait(THRESHOLD_MS)
    assert (await fleet.registry.sweeps.expire()).count == 1


async def test_a_node_that_reports_no_more_runs_out_after_it_was_listed_among_the_lost(fleet: Fleet) -> None:
    await fleet.beat(A)
    limit_ms = fleet.policy.threshold_ms + fleet.policy.lost_ttl_ms
    assert limit_ms - 10_000 < await fleet.client.pttl(fleet.keys.node(A)) <= limit_ms
