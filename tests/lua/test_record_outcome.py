"""record_outcome.lua: what an outcome does to the placement, to the SFU and to its breaker."""

import pytest
from redis.asyncio import Redis

from app.registry.placements import Busy, Outcome, Placement
from app.registry.policy import CONFIRMED_MS
from tests.lua.fleet import KEY, A, B, Fleet

OPEN_MS = 30_000
MAX_OPEN_MS = 300_000


@pytest.fixture
async def pair(fleet: Fleet) -> Fleet:
    """A fleet of A and B, of which one may be out by failures."""
    await fleet.beat(A)
    await fleet.beat(B, sessions=500)
    return fleet


async def ejected_for_ms(fleet: Fleet, address: str = A) -> int:
    return (await fleet.registry.fleet.describe(address)).ejected_for_ms


# The placement


async def test_a_created_channel_is_remembered(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat()
    await fleet.place()
    assert await fleet.owner_of("channel of issuer") == A
    ttl_ms = fleet.policy.affinity_ttl_ms
    assert ttl_ms - 10_000 < await redis.pttl(fleet.keys.channel("channel of issuer")) <= ttl_ms


async def test_a_final_report_ends_the_hold(pair: Fleet, redis: Redis) -> None:
    await pair.place("created")
    await pair.select("failed")
    await pair.report("failed", issuer="failed")
    assert await redis.zcard(pair.keys.attempts) == 0
    assert await redis.exists(pair.keys.placement("default", "created")) == 1
    assert await redis.exists(pair.keys.placement("default", "failed")) == 0


async def test_a_report_that_is_not_final_keeps_the_hold(pair: Fleet) -> None:
    await pair.select()
    await pair.report("failed", is_final=False)
    assert isinstance(await pair.ask(id="another"), Busy)


@pytest.mark.parametrize("outcome", ["failed", "unblamed"])
async def test_nobody_else_changes_a_locked_placement(pair: Fleet, outcome: Outcome) -> None:
    await pair.select()
    before = await pair.client.hgetall(pair.keys.placement("default", "issuer"))
    await pair.report(outcome, id="a stranger's")
    assert await pair.client.hgetall(pair.keys.placement("default", "issuer")) == before
    assert await pair.reserved(A) == 4


async def test_a_failure_unpins_no_channel_that_exists(pair: Fleet) -> None:
    await pair.place(max_placements=1)
    await pair.report("failed", id="passed freely")
    assert (await pair.select("another", max_placements=2)).address == B
    await pair.beat(A, sessions=900)
    again = await pair.select(id="next")
    assert (again.address, again.uuid) == (A, "channel of issuer")


async def test_an_outcome_that_is_reported_again_counts_once(pair: Fleet) -> None:
    await pair.select()
    for is_repeated in (False, True, True):
        confirmed = await pair.report("failed", id="request 1 of issuer", is_final=False)
        assert confirmed.is_repeated == is_repeated
    assert (await pair.registry.fleet.describe(A)).failures == 1
    assert isinstance(await pair.ask(id="another"), Busy)
    await pair.report("unblamed", id="request 1 of issuer", is_final=True)
    assert isinstance(await pair.ask(id="another"), Placement)


async def test_of_one_request_the_attempt_that_came_first_wins(pair: Fleet) -> None:
    await pair.select(id="request")
    await pair.select(id="request", attempt=2, exclude=(A,))
    assert (await pair.report("created", B, id="request", attempt=2, uuid="second")).is_placed
    assert not (await pair.report("created", A, id="request", attempt=1, uuid="first")).is_placed
    pair.wait(1_000)
    again = await pair.select(id="next")
    assert (again.address, again.uuid) == (B, "second")
    assert await pair.reserved(A) == 0


async def test_a_uuid_belongs_to_the_first_living_sfu_and_its_tenant(pair: Fleet) -> None:
    await pair.place(uuid="uuid")
    for number, (tenant, address) in enumerate((("default", B), ("other", A), ("other", B))):
        answer = await pair.report("created", address, f"{number}", tenant=tenant, uuid="uuid")
        assert answer.uuid_owner is not None
        assert (answer.uuid_owner.tenant, answer.uuid_owner.address) == ("default", A)
    assert await pair.owner_of("uuid") == A
    await pair.registry.registrations.sign_off(A, KEY)
    assert (await pair.report("created", B, "late", tenant="other", uuid="uuid")).uuid_owner is None
    owner = await pair.registry.channel_owner("uuid")
    assert owner is not None
    assert (owner.tenant, owner.address) == ("other", B)


async def test_an_sfu_lists_its_calls(pair: Fleet) -> None:
    await pair.place("one")
    pair.wait(1_000)
    await pair.place("two")
    await pair.report("created", B, "one", id="moved", uuid="moved")
    assert await pair.registry.rescues.calls_of(A) == ["default:two"]
    assert await pair.registry.rescues.calls_of(B) == ["default:one"]
    pair.wait(pair.policy.affinity_ttl_ms)
    await pair.beat(A)
    assert await pair.registry.rescues.calls_of(A) == []


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
    await pair.registry.fleet.forget(A)
    await pair.report("failed")
    assert await redis.exists(pair.keys.node(A), pair.keys.returning) == 0
    assert (await pair.select(id="next")).address == B


async def test_a_report_to_an_emptied_registry_is_harmless(pair: Fleet, redis: Redis) -> None:
    await pair.select("one")
    await pair.select("two")
    await redis.flushall()
    await pair.report("created", issuer="one")
    await pair.report("failed", issuer="two")
    assert set(await redis.keys("*")) == {
        pair.keys.channel("channel of one"),
        pair.keys.placement("default", "one"),
        pair.keys.calls(A),
        pair.keys.confirmations,
        pair.keys.attempt("request 1 of two:1"),
    }


# Blame


async def test_an_sfu_that_failed_is_out_for_everybody(pair: Fleet) -> None:
    await pair.fail(A)
    await pair.fail(A)
    assert await pair.state(A) == "ejected"
    assert await pair.listed() == await pair.listed("eu") == {B}
    assert await pair.events(A) == ["up registered", "down failed"]


async def test_a_requests_own_fault_blames_nobody(pair: Fleet) -> None:
    await pair.fail(A, "unblamed", times=10)
    status = await pair.registry.fleet.describe(A)
    assert (status.state, status.failures) == ("selectable", 0)


async def test_a_wrong_key_puts_an_sfu_out_at_once(pair: Fleet) -> None:
    await pair.fail(A, "misconfigured")
    await pair.fail(A, "misconfigured")
    status = await pair.registry.fleet.describe(A)
    assert (status.state, status.reason) == ("ejected", "misconfigured")
    assert await pair.events(A) == [
        "up registered",
        "breaker-open misconfigured",
        "misconfigured misconfigured",
    ]


# The breaker


async def test_the_breaker_opens_at_the_threshold(pair: Fleet) -> None:
    await pair.fail(A, times=4)
    assert (await pair.registry.fleet.describe(A)).breaker == "closed"
    await pair.fail(A, times=3)
    assert (await pair.registry.fleet.describe(A)).breaker == "open"
    assert await pair.events(A) == ["up registered", "down failed", "breaker-open failed"]


async def test_failures_add_up_over_heartbeats_until_a_success(pair: Fleet) -> None:
    for _ in range(4):
        await pair.fail(A)
        await pair.beat(A)
    await pair.place()
    for _ in range(4):
        await pair.fail(A)
        await pair.beat(A)
    assert (await pair.registry.fleet.describe(A)).breaker == "closed"
    await pair.fail(A)
    assert (await pair.registry.fleet.describe(A)).breaker == "open"


async def test_a_late_success_does_not_end_an_ejection(pair: Fleet) -> None:
    await pair.select()
    await pair.fail(A)
    await pair.report("created")
    assert await pair.state(A) == "ejected"


async def test_a_success_does_not_close_an_open_breaker(pair: Fleet) -> None:
    await pair.select()
    await pair.fail(A, times=5)
    await pair.report("created")
    assert (await pair.registry.fleet.describe(A)).breaker == "open"


@pytest.mark.parametrize(("draw", "stretched_ms"), [(0.0, 30_000), (0.5, 33_000), (0.999, 35_994)])
async def test_the_open_time_is_stretched_by_the_draw(pair: Fleet, draw: float, stretched_ms: int) -> None:
    pair.draw = draw
    await pair.fail(A, times=5)
    assert await ejected_for_ms(pair) == stretched_ms
    assert await pair.registry.sweeps.claim_probes(1_000) == []
    pair.wait(20_000)
    await pair.beat(A)
    pair.wait(stretched_ms - 22_500)
    assert await pair.registry.sweeps.claim_probes(1_000) == [A]


async def test_the_open_time_doubles_up_to_its_cap(pair: Fleet) -> None:
    times = []
    await pair.fail(A, times=5)
    for _ in range(6):
        times.append(await ejected_for_ms(pair))
        await pair.registry.sweeps.probe(A, answered=True)
        await pair.fail(A)
    assert times == [30_000, 60_000, 120_000, 240_000, MAX_OPEN_MS, MAX_OPEN_MS]


async def test_a_breaker_that_closed_remembers_how_often_it_opened(pair: Fleet) -> None:
    await pair.half_open(A)
    await pair.place()
    await pair.fail(A, times=5)
    assert await ejected_for_ms(pair) == 2 * OPEN_MS


async def test_ejections_are_forgotten_after_a_while(pair: Fleet) -> None:
    await pair.half_open(A)
    await pair.place()
    pair.wait(2 * MAX_OPEN_MS + OPEN_MS)
    await pair.beat(A)
    await pair.fail(A, times=5)
    assert await ejected_for_ms(pair) == OPEN_MS


# Half-open


async def test_half_open_lets_one_request_at_a_time_through(pair: Fleet) -> None:
    await pair.half_open(A)
    assert (await pair.select("one")).address == A
    assert await pair.listed() == {B}
    assert (await pair.select("two")).address == B
    await pair.report("unblamed", issuer="one")
    assert (await pair.select("three")).address == A


@pytest.mark.parametrize("outcome", ["created", "failed", "unblamed"])
async def test_only_its_owner_ends_a_permit(pair: Fleet, outcome: Outcome) -> None:
    await pair.half_open(A)
    await pair.select("one")
    await pair.report(outcome, A, "another", id="sent before")
    assert await pair.state(A) == "half-open"
    assert await pair.listed() == {B}
    await pair.report("created", A, "one")
    assert await pair.state(A) == "selectable"


async def test_a_success_closes_a_half_open_breaker(pair: Fleet) -> None:
    await pair.half_open(A)
    await pair.place()
    status = await pair.registry.fleet.describe(A)
    assert (status.state, status.breaker, status.failures) == ("selectable", "closed", 0)
    assert (await pair.events(A))[-1] == "breaker-closed success"
    assert await pair.client.exists(pair.keys.ejected("eu"), pair.keys.returning) == 0


async def test_a_failure_opens_a_half_open_breaker_again(pair: Fleet) -> None:
    await pair.half_open(A)
    await pair.select()
    await pair.report("failed")
    assert await ejected_for_ms(pair) == 2 * OPEN_MS
    assert (await pair.events(A))[-2:] == ["up recovered", "down failed"]


async def test_a_sticky_request_is_a_trial_too(pair: Fleet) -> None:
    await pair.place()
    await pair.half_open(A)
    pair.wait(1_000)
    await pair.beat(B, sessions=500)
    assert (await pair.select()).address == A
    assert await pair.listed() == {B}
    assert (await pair.select("another")).address == B


async def test_a_sticky_request_does_not_join_the_trial_of_another(pair: Fleet) -> None:
    await pair.place()
    await pair.half_open(A)
    await pair.beat(B, sessions=500)
    assert (await pair.select("another")).address == A
    assert (await pair.select()).address == B


async def test_an_attempt_that_is_recorded_stays_so_when_its_select_runs_once_more(fleet: Fleet) -> None:
    await fleet.beat(A)
    for _ in range(2):
        await fleet.confirm(A, id="another request")  # which ends the lock of any request
        await fleet.report("failed", A, id="request")
        assert (await fleet.registry.fleet.describe(A)).failures == 1
        await fleet.beat(A)
        fleet.wait(CONFIRMED_MS + 1)
        assert (await fleet.select(id="request")).is_locked
