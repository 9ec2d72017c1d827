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
        "state": "up",
        "breaker": "closed",
        "channels": "12",
        "sessions": "45",
        "max_sessions": "1000",
        "cpu": "0.35",
        "memory": "0.48",
        "public_url": "https://a.example",
        "registered_at": str(fleet.now_ms),
        "last_seen": str(fleet.now_ms),
    }
    assert {name: shown[name] for name in expected} == expected
    assert float(shown["load"]) == pytest.approx(0.5 * 45 / 1000 + 0.3 * 0.35 + 0.2 * 0.48)


async def test_the_hash_lives_as_long_as_the_threshold(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat()
    assert THRESHOLD_MS - 5_000 < await redis.pttl(fleet.keys.node(A)) <= THRESHOLD_MS
    await redis.pexpire(fleet.keys.node(A), 1_000)
    await fleet.beat()
    assert await redis.pttl(fleet.keys.node(A)) > THRESHOLD_MS - 5_000


async def test_no_secret_is_stored(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat()
    stored = str(await redis.hgetall(fleet.keys.node(A))) + str(await redis.hgetall(fleet.keys.known))
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
    await fleet.registry.sign_off(A, KEY)
    answer = await fleet.beat()
    assert (answer.is_new, answer.generation) == (True, 2)
    assert await fleet.events(A) == ["up registered", "down signed-off", "up returned"]


async def test_a_life_goes_on_when_nobody_has_called_it_down_yet(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat()
    fleet.wait(THRESHOLD_MS)
    await redis.delete(fleet.keys.node(A))
    answer = await fleet.beat()
    assert (answer.is_new, answer.generation) == (False, 1)
    assert await fleet.events(A) == ["up registered"]


async def test_a_life_that_goes_on_keeps_its_state(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A)
    await fleet.registry.drain(B)
    await fleet.beat(B)
    fleet.wait(THRESHOLD_MS)
    await fleet.beat(A)
    await fleet.beat(B)
    assert await fleet.events(A) == ["up registered", "down failed", "up recovered"]
    assert await fleet.events(B) == ["up registered", "draining operator", "drained empty"]


async def test_another_key_is_refused_while_the_address_is_leased(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=1)
    fleet.wait(THRESHOLD_MS - 1)
    with pytest.raises(AddressLeased):
        await fleet.beat(A, key=OTHER_KEY, sessions=2)
    assert (await fleet.registry.describe(A)).sessions == 1
    assert fleet.registry.open_key(await fleet.select()) == KEY


async def test_an_address_is_free_after_expiry(fleet: Fleet) -> None:
    await fleet.beat(A)
    fleet.wait(THRESHOLD_MS)
    await fleet.beat(A, key=OTHER_KEY)
    assert fleet.registry.open_key(await fleet.select()) == OTHER_KEY


async def test_an_address_is_free_after_sign_off(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.registry.sign_off(A, KEY)
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
    assert (await fleet.registry.describe(A)).sessions == 1
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
    assert await redis.smembers(fleet.keys.overloaded("eu")) == set()
    assert await redis.smembers(fleet.keys.overloaded("us")) == {A}


async def test_old_figures_stay_when_the_report_has_no_fresh_ones(fleet: Fleet) -> None:
    await fleet.beat(A, channels=3, sessions=12, cpu=0.5, memory=0.25)
    await fleet.beat(A, is_fresh=False)
    status = await fleet.registry.describe(A)
    assert (status.channels, status.sessions, status.cpu, status.memory) == (3, 12, 0.5, 0.25)


async def test_a_report_ends_a_mark_down(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A)
    await fleet.beat(A, is_fresh=False)
    assert await fleet.standing(A) == "failed"
    await fleet.beat(A)
    assert await fleet.standing(A) == "selectable"
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


async def test_the_operators_drain_outlives_the_node_and_reaches_the_sfu(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.registry.drain(A)
    await fleet.registry.sign_off(A, KEY)
    assert (await fleet.beat()).is_draining
    assert await fleet.standing() == "draining"


async def test_a_heartbeat_does_not_close_a_breaker(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A, times=5)
    await fleet.beat(A)
    assert await fleet.standing(A) == "breaker-open"
    assert await fleet.listed() == {B}


async def test_an_open_breaker_outlives_the_node_and_is_probed_again(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A, times=5)
    await fleet.registry.sign_off(A, KEY)
    fleet.wait(THRESHOLD_MS - 1)
    await fleet.registry.probe(A, answered=True)
    await fleet.beat(A)
    assert await fleet.standing(A) == "breaker-open"
    assert await redis.smembers(fleet.keys.ejected("eu")) == {A}
    assert await fleet.registry.claim_probes(1_000) == [A]


async def test_an_sfu_that_is_out_is_out_of_its_next_region_too(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A, times=5)
    await fleet.beat(A, region="us")
    assert await redis.smembers(fleet.keys.ejected("eu")) == set()
    assert await redis.smembers(fleet.keys.ejected("us")) == {A}


async def test_a_wrong_key_stays_wrong_until_there_is_another(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A, "misconfigured")
    await fleet.beat(A)
    assert await fleet.standing(A) == "misconfigured"
    await fleet.registry.sign_off(A, KEY)
    await fleet.beat(A)
    assert await fleet.standing(A) == "misconfigured"
    await fleet.registry.sign_off(A, KEY)
    await fleet.beat(A, key=OTHER_KEY)
    assert await fleet.standing(A) == "selectable"
    assert await fleet.registry.claim_probes(1_000) == []


async def test_another_key_does_not_close_a_breaker_that_failures_opened(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A, "misconfigured")
    fleet.wait(THRESHOLD_MS - 1)
    await fleet.beat(A)
    await fleet.registry.probe(A, answered=True)
    await fleet.fail(A)
    await fleet.registry.sign_off(A, KEY)
    await fleet.beat(A, key=OTHER_KEY)
    assert await fleet.standing(A) == "breaker-open"


async def test_a_region_without_a_selectable_sfu_left_is_overloaded_once(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    for _ in range(2):
        await fleet.beat(A, cpu=1.0)
        await fleet.beat(B, sessions=1_000)
    assert await fleet.events(A) == ["up registered"]
    assert await fleet.events(B) == ["up registered", "overloaded full"]
    await fleet.beat(A)
    assert await fleet.listed() == {A}


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
    await redis.delete(keys.load(), keys.load("eu"), keys.members("eu"), keys.deadlines, keys.known)
    await fleet.beat()
    assert await fleet.listed() == await fleet.listed("eu") == {A}
    assert await fleet.registry.has_region("eu")
    fleet.wait(THRESHOLD_MS)
    assert (await fleet.registry.expire()).count == 1
