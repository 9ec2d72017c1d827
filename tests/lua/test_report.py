"""report.lua: what an outcome does to the placement, to the SFU and to its breaker."""

from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from app.errors import NoSfuAvailable
from app.registry.placements import Busy, Outcome
from tests.lua.fleet import KEY, A, B, C, D, Fleet

OPEN_MS = 30_000
MAX_OPEN_MS = 300_000


@pytest.fixture
async def pair(fleet: Fleet) -> Fleet:
    """A fleet of A and B, of which one may be out by failures."""
    await fleet.beat(A)
    await fleet.beat(B, sessions=500)
    return fleet


async def open_for_ms(fleet: Fleet, address: str = A) -> int:
    return (await fleet.registry.describe(address)).open_for_ms


# The placement


async def test_a_created_channel_is_remembered(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat()
    await fleet.place()
    assert await fleet.registry.sfu_of_channel("channel of issuer") == A
    ttl_ms = fleet.policy.affinity_ttl_ms
    assert ttl_ms - 10_000 < await redis.pttl(fleet.keys.channel("channel of issuer")) <= ttl_ms


async def test_a_final_report_ends_the_hold(pair: Fleet, redis: Redis) -> None:
    await pair.place("created")
    await pair.select("failed")
    await pair.report("failed", issuer="failed")
    assert await redis.zcard(pair.keys.inflight) == 0
    assert await redis.exists(pair.keys.placement("default", "created")) == 1
    assert await redis.exists(pair.keys.placement("default", "failed")) == 0


async def test_a_report_that_is_not_final_keeps_the_hold(pair: Fleet) -> None:
    await pair.select()
    await pair.report("failed", is_final=False)
    assert isinstance(await pair.ask(id="another"), Busy)


@pytest.mark.parametrize("outcome", ["created", "failed", "unblamed"])
async def test_nobody_else_changes_a_held_placement(pair: Fleet, outcome: Outcome) -> None:
    await pair.select()
    before = await pair.client.hgetall(pair.keys.placement("default", "issuer"))
    await pair.report(outcome, id="a stranger's")
    assert await pair.client.hgetall(pair.keys.placement("default", "issuer")) == before
    assert await pair.reserved(A) == 4


async def test_a_failure_of_a_request_that_passed_freely_moves_the_issuer(pair: Fleet) -> None:
    await pair.place(max_channels=1)
    await pair.report("failed", id="passed freely")
    await pair.beat(A)
    assert (await pair.select("another", max_channels=1)).address == A
    assert await pair.client.exists(pair.keys.placement("default", "issuer")) == 0


async def test_a_requests_own_fault_does_not_cost_its_issuer_the_sfu(pair: Fleet) -> None:
    await pair.place()
    await pair.report("unblamed", id="passed freely")
    pair.wait(1_000)
    await pair.select(id="holder")
    await pair.report("unblamed", id="holder")
    await pair.beat(A, sessions=900)
    again = await pair.select(id="next")
    assert (again.address, again.uuid) == (A, "channel of issuer")


async def test_a_report_of_a_forgotten_sfu_leaves_nothing_behind(pair: Fleet, redis: Redis) -> None:
    await pair.select()
    await pair.registry.forget(A)
    await pair.report("failed")
    assert await redis.exists(pair.keys.node(A), pair.keys.breaker(A)) == 0
    assert (await pair.select(id="next")).address == B


async def test_a_report_to_an_emptied_registry_is_harmless(pair: Fleet, redis: Redis) -> None:
    await pair.select("one")
    await pair.select("two")
    await redis.flushall()
    await pair.report("created", issuer="one")
    await pair.report("failed", issuer="two")
    assert set(await redis.keys("*")) == {pair.keys.channel("channel of one")}


# Blame


async def test_an_sfu_that_failed_is_out_for_everybody(pair: Fleet) -> None:
    await pair.fail(A)
    await pair.fail(A)
    assert await pair.standing(A) == "failed"
    assert await pair.listed() == await pair.listed("eu") == {B}
    assert await pair.events(A) == ["up registered", "down failed"]


async def test_a_requests_own_fault_blames_nobody(pair: Fleet) -> None:
    await pair.fail(A, "unblamed", times=10)
    status = await pair.registry.describe(A)
    assert (status.standing, status.failures) == ("selectable", 0)


async def test_a_wrong_key_puts_an_sfu_out_at_once(pair: Fleet) -> None:
    await pair.fail(A, "misconfigured")
    await pair.fail(A, "misconfigured")
    assert await pair.standing(A) == "misconfigured"
    assert await pair.events(A) == [
        "up registered",
        "misconfigured refused its own key",
        "breaker-open failures",
    ]


@pytest.mark.parametrize("outcome", ["failed", "misconfigured"])
async def test_the_last_sfu_stays_in(fleet: Fleet, outcome: Outcome) -> None:
    await fleet.beat()
    await fleet.fail(A, outcome, times=10)
    status = await fleet.registry.describe(A)
    assert (status.standing, status.breaker, status.failures) == ("selectable", "closed", 10)
    assert (await fleet.select()).address == A


@pytest.mark.parametrize(("percent", "out"), [(0, 0), (25, 1), (49, 1), (50, 2), (100, 4)])
async def test_failures_take_out_no_more_than_their_share(
    make_fleet: Callable[..., Fleet], percent: int, out: int
) -> None:
    fleet = make_fleet(max_ejected_percent=percent)
    for address in (A, B, C, D):
        await fleet.beat(address)
    for address in (A, B, C, D):
        await fleet.fail(address, times=5)
    assert len(await fleet.listed()) == 4 - out
    assert await fleet.client.scard(fleet.keys.ejected("eu")) == out


async def test_the_share_is_counted_per_region(pair: Fleet) -> None:
    await pair.beat(C, region="us")
    await pair.beat(D, region="us")
    for address in (A, B, C, D):
        await pair.fail(address)
    assert await pair.listed() == {B, D}


async def test_a_recovered_sfu_makes_room_for_another(pair: Fleet) -> None:
    await pair.fail(A)
    await pair.fail(B)
    await pair.beat(A)
    await pair.fail(B)
    assert await pair.listed() == {A}


# The breaker


async def test_the_breaker_opens_at_the_threshold(pair: Fleet) -> None:
    await pair.fail(A, times=4)
    assert (await pair.registry.describe(A)).breaker == "closed"
    await pair.fail(A, times=3)
    assert (await pair.registry.describe(A)).breaker == "open"
    assert await pair.events(A) == ["up registered", "down failed", "breaker-open failures"]


async def test_failures_add_up_over_heartbeats_until_a_success(pair: Fleet) -> None:
    for _ in range(4):
        await pair.fail(A)
        await pair.beat(A)
    await pair.place()
    for _ in range(4):
        await pair.fail(A)
        await pair.beat(A)
    assert (await pair.registry.describe(A)).breaker == "closed"
    await pair.fail(A)
    assert (await pair.registry.describe(A)).breaker == "open"


async def test_a_success_does_not_end_a_mark_down(pair: Fleet) -> None:
    await pair.select()
    await pair.fail(A)
    await pair.report("created")
    assert await pair.standing(A) == "failed"


async def test_a_success_does_not_close_an_open_breaker(pair: Fleet) -> None:
    await pair.select()
    await pair.fail(A, times=5)
    await pair.report("created")
    assert (await pair.registry.describe(A)).breaker == "open"


@pytest.mark.parametrize(("draw", "stretched_ms"), [(0.0, 30_000), (0.5, 33_000), (0.999, 35_994)])
async def test_the_open_time_is_stretched_by_the_draw(pair: Fleet, draw: float, stretched_ms: int) -> None:
    pair.draw = draw
    await pair.fail(A, times=5)
    assert await open_for_ms(pair) == stretched_ms
    assert await pair.registry.claim_probes(1_000) == []
    pair.wait(stretched_ms)
    assert await pair.registry.claim_probes(1_000) == [A]


async def test_the_open_time_doubles_up_to_its_cap(pair: Fleet) -> None:
    times = []
    await pair.fail(A, times=5)
    for _ in range(6):
        times.append(await open_for_ms(pair))
        await pair.registry.probe(A, answered=True)
        await pair.fail(A)
    assert times == [30_000, 60_000, 120_000, 240_000, MAX_OPEN_MS, MAX_OPEN_MS]


async def test_a_breaker_that_closed_remembers_how_often_it_opened(pair: Fleet) -> None:
    await pair.half_open(A)
    await pair.place()
    await pair.fail(A, times=5)
    assert await open_for_ms(pair) == 2 * OPEN_MS


async def test_a_breaker_is_forgotten_after_a_while(pair: Fleet, redis: Redis) -> None:
    name = pair.keys.breaker(A)
    for times in (1, 4):
        await pair.fail(A, times=times)
        assert 2 * MAX_OPEN_MS - 10_000 < await redis.pttl(name) <= 2 * MAX_OPEN_MS + OPEN_MS
    for answered in (False, True):
        await redis.persist(name)
        await pair.registry.probe(A, answered=answered)
        assert 2 * MAX_OPEN_MS - 10_000 < await redis.pttl(name) <= 2 * MAX_OPEN_MS + 2 * OPEN_MS
    await redis.persist(name)
    await pair.place()
    assert 2 * MAX_OPEN_MS - 10_000 < await redis.pttl(name) <= 2 * MAX_OPEN_MS


# Half-open


async def test_half_open_lets_one_request_at_a_time_through(pair: Fleet) -> None:
    await pair.half_open(A)
    assert (await pair.select("one")).address == A
    assert await pair.standing(A) == "on-trial"
    with pytest.raises(NoSfuAvailable):
        await pair.select("two", exclude=(B,))
    await pair.report("unblamed", issuer="one")
    assert (await pair.select("two")).address == A


async def test_a_success_closes_a_half_open_breaker(pair: Fleet) -> None:
    await pair.half_open(A)
    await pair.place()
    status = await pair.registry.describe(A)
    assert (status.standing, status.breaker, status.failures) == ("selectable", "closed", 0)
    assert (await pair.events(A))[-1] == "breaker-closed success"
    assert await pair.client.scard(pair.keys.ejected("eu")) == 0


async def test_a_failure_opens_a_half_open_breaker_again(pair: Fleet) -> None:
    await pair.half_open(A)
    await pair.select()
    await pair.report("failed")
    assert await open_for_ms(pair) == 2 * OPEN_MS
    assert (await pair.events(A))[-2:] == ["down failed", "breaker-open failures"]


async def test_a_failed_trial_ends_even_where_the_sfu_must_stay_in(pair: Fleet) -> None:
    await pair.half_open(A)
    await pair.beat(A)
    await pair.beat(B, sessions=500)
    await pair.fail(B)
    await pair.select("one")
    await pair.report("failed", issuer="one")
    assert await pair.listed() == {A}
    assert (await pair.select("two")).address == A


async def test_a_half_open_breaker_closes_even_when_it_was_forgotten(pair: Fleet, redis: Redis) -> None:
    await pair.half_open(A)
    await redis.delete(pair.keys.breaker(A))
    await pair.place()
    assert (await pair.registry.describe(A)).breaker == "closed"
    assert await redis.pttl(pair.keys.breaker(A)) > 0


async def test_a_sticky_request_is_a_trial_too(pair: Fleet) -> None:
    await pair.place()
    await pair.half_open(A)
    pair.wait(1_000)
    await pair.beat(B, sessions=500)
    assert (await pair.select()).address == A
    assert await pair.standing(A) == "on-trial"
    assert (await pair.select("another")).address == B


async def test_a_sticky_request_does_not_join_the_trial_of_another(pair: Fleet) -> None:
    await pair.place()
    await pair.half_open(A)
    await pair.beat(B, sessions=500)
    assert (await pair.select("another")).address == A
    assert (await pair.select()).address == B


async def test_a_wrong_key_that_was_mended_leaves_no_mark(pair: Fleet) -> None:
    await pair.fail(A, "misconfigured")
    await pair.registry.probe(A, answered=True)
    await pair.place()
    await pair.fail(A, times=5)
    await pair.registry.sign_off(A, KEY)
    await pair.beat(A)
    assert await pair.standing(A) == "breaker-open"
