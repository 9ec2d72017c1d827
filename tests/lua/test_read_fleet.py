"""read_fleet.lua: the fleet, as replicas read it for people and for the time without Redis."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from app.errors import NoSfuAvailable, Overloaded
from app.registry.fleet_reader import FleetPage, FleetReader
from app.registry.sfus import SfuStatus
from tests.lua.fleet import KEY, A, B, C, D, E, Fleet


async def test_the_living_fleet_with_all_that_a_placement_needs(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=10, region="us", public_url="https://a.example")
    placement = await fleet.select()
    snapshot = await fleet.registry.fleet.snapshot()
    load = 0.5 * 14 / 1_000
    [node] = snapshot.nodes
    assert (node.address, node.region, node.public_url, node.generation) == (A, "us", "https://a.example", 1)
    assert (node.load, node.claimed, node.max_sessions) == (load, 14, 1_000)
    assert (node.eligibility, node.sealed_key) == ("selectable", placement.sealed_key)
    assert (snapshot.sessions_per_channel, snapshot.is_held) == (4, False)
    assert snapshot.at_ms == fleet.now_ms


async def test_each_sfu_says_what_it_may_be_used_for(fleet: Fleet) -> None:
    for address in (A, B, C, D, E):
        await fleet.beat(address)
    await fleet.beat(B, cpu=1.0)
    await fleet.registry.fleet.drain(C)
    await fleet.registry.fleet.drain(D, deadline_ms=1)
    await fleet.fail(E, times=fleet.policy.failure_threshold)
    fleet.wait(1)
    snapshot = await fleet.registry.fleet.snapshot()
    assert {node.address: (node.eligibility, node.state) for node in snapshot.nodes} == {
        A: ("selectable", "selectable"),
        B: ("sticky-only", "overloaded"),
        C: ("sticky-only", "draining"),
        E: ("last-resort", "ejected"),
    }
    assert [(sfu.address, sfu.eligibility, sfu.state) for sfu in snapshot.others] == [(D, "", "drained")]


async def test_half_open_sfu_takes_channels_while_its_permit_is_free(fleet: Fleet) -> None:
    await fleet.half_open(A)
    [free] = (await fleet.registry.fleet.snapshot()).nodes
    await fleet.select()
    [taken] = (await fleet.registry.fleet.snapshot()).nodes
    assert (free.state, free.eligibility) == ("half-open", "selectable")
    assert (taken.state, taken.eligibility) == ("half-open", "sticky-only")


async def test_every_sfu_is_read_while_all_of_them_report(fleet: Fleet) -> None:
    """An order by load would move under the reader, which then misses some and reads others twice."""
    addresses = {f"http://{number}.test" for number in range(500)}
    for address in addresses:
        await fleet.beat(address)
    draw = random.Random(1)

    async def page(cursor: str, count: int, after_event: str, besides: Sequence[str]) -> FleetPage:
        for address in draw.sample(sorted(addresses), 20):
            await fleet.beat(address, sessions=draw.randrange(900))
        return await fleet.registry.fleet.page(cursor, count, after_event, besides)

    for _ in range(3):
        assert (await FleetReader(page).read()).addresses == addresses


async def test_the_expired_are_listed_and_are_no_nodes(fleet: Fleet) -> None:
    await fleet.beat(A)
    fleet.wait(30_000)
    await fleet.beat(D)
    snapshot = await fleet.registry.fleet.snapshot()
    assert [node.address for node in snapshot.nodes] == [D]
    assert [(sfu.address, sfu.state) for sfu in snapshot.others] == [(A, "expired")]


async def test_a_large_fleet_comes_in_pages(fleet: Fleet) -> None:
    for number in range(250):
        await fleet.beat(f"http://{number}.test")
    assert len((await fleet.registry.fleet.snapshot()).nodes) == 250


async def test_it_says_when_most_of_the_fleet_is_silent(fleet: Fleet) -> None:
    for number in range(5):
        await fleet.beat(f"http://{number}.test")
    fleet.wait(19_999)
    assert not (await fleet.registry.fleet.snapshot()).is_held
    fleet.wait(1)
    assert (await fleet.registry.fleet.snapshot()).is_held


async def test_an_expired_sfu_among_the_best_does_not_end_a_large_fleet(fleet: Fleet) -> None:
    await fleet.beat(A)
    fleet.wait(30_000)
    for number in range(150):
        await fleet.beat(f"http://{number}.test", sessions=1)
    assert len((await fleet.registry.fleet.snapshot()).nodes) == 150


async def test_another_beginning_says_that_data_was_lost(fleet: Fleet, redis: Redis) -> None:
    assert (await fleet.registry.fleet.snapshot()).began_at == ""
    await fleet.beat(A)
    began = str(fleet.now_ms)
    fleet.wait(1_000)
    await fleet.beat(B)
    await fleet.registry.registrations.sign_off(A, KEY)
    await fleet.beat(A)
    assert (await fleet.registry.fleet.snapshot()).began_at == began
    await redis.flushall()
    assert (await fleet.registry.fleet.snapshot()).began_at == ""
    await fleet.beat(A)
    assert (await fleet.registry.fleet.snapshot()).began_at == str(fleet.now_ms)


async def test_the_epoch_moves_with_members_and_registrations_alone(fleet: Fleet) -> None:
    async def epoch() -> str:
        return (await fleet.registry.fleet.snapshot()).epoch

    seen = [await epoch()]
    for deed in (
        fleet.beat(A, instance="one"),
        fleet.beat(B),
        fleet.beat(A, instance="two"),
        fleet.beat(A, instance="two", region="us"),
        fleet.registry.registrations.sign_off(B, KEY),
    ):
        await deed
        seen.append(await epoch())
    assert len(set(seen)) == len(seen)
    await fleet.beat(A, instance="two", region="us", sessions=5)
    await fleet.place()
    await fleet.fail(A)
    assert await epoch() == seen[-1]


async def test_a_refusal_says_in_which_epoch(fleet: Fleet) -> None:
    await fleet.beat(A, cpu=1.0)
    with pytest.raises(Overloaded) as overloaded:
        await fleet.select()
    await fleet.registry.fleet.drain(A)
    with pytest.raises(NoSfuAvailable) as none:
        await fleet.select()
    assert {overloaded.value.epoch, none.value.epoch} == {(await fleet.registry.fleet.snapshot()).epoch}


# What changed


async def test_a_page_has_the_sfus_that_its_caller_names(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    page = await fleet.registry.fleet.page("", 0, "", [B, C])
    assert ([row[0] for row in page.rows], page.absent) == ([B], [C])


async def test_only_a_replica_notes_its_reading_and_gets_keys(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat(A)
    [shown] = await fleet.registry.fleet.sfus()
    assert (await redis.hget(fleet.keys.fleet, "read_at"), shown.sealed_key) == (None, "")
    [node] = (await fleet.registry.fleet.snapshot()).nodes
    assert await redis.hget(fleet.keys.fleet, "read_at") == str(fleet.now_ms)
    assert node.sealed_key == await redis.hget(fleet.keys.node(A), "key")


async def test_people_and_replicas_read_the_same_of_an_sfu(fleet: Fleet) -> None:
    await fleet.beat(A, channels=3, sessions=10, cpu=0.5, memory=0.25, public_url="https://a.example")
    await fleet.fail(A, "misconfigured")
    await fleet.registry.fleet.drain(A, deadline_ms=5_000, move=True)
    [read] = (await fleet.registry.fleet.snapshot()).sfus
    assert replace(read, sealed_key="") == await fleet.registry.fleet.describe(A)
    assert (read.drain_until, read.moves, read.at) == (fleet.now_ms + 5_000, 0, fleet.now_ms)


async def test_a_later_page_has_the_sfus_that_transitions_name(fleet: Fleet) -> None:
    for number in range(300):
        await fleet.beat(f"http://{number}.test")
    event_id = (await fleet.registry.fleet.page("", 10, "")).event_id
    await fleet.beat(A)
    await fleet.registry.registrations.sign_off("http://7.test", KEY)
    page = await fleet.registry.fleet.page("", 10, event_id)
    assert A in {row[0] for row in page.rows}
    assert {row[0]: row[2] for row in page.rows}["http://7.test"] == "signed-off"
    assert len(page.rows) < 60
    again = await fleet.registry.fleet.page("", 10, page.event_id)
    assert A not in {row[0] for row in again.rows}


async def test_a_burst_of_transitions_comes_in_pages(fleet: Fleet) -> None:
    await fleet.beat(A)
    event_id = (await fleet.registry.fleet.page("", 1, "")).event_id
    for number in range(150):
        await fleet.beat(f"http://{number}.test")
    first = await fleet.registry.fleet.page("", 1, event_id)
    assert first.has_more_events
    second = await fleet.registry.fleet.page("", 1, first.event_id)
    assert not second.has_more_events
    assert {row[0] for row in [*first.rows, *second.rows]} >= {
        f"http://{number}.test" for number in range(150)
    }


async def test_every_fact_comes_under_its_own_name(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat(
        A, channels=3, sessions=10, max_sessions=100, cpu=0.5, memory=0.25, public_url="https://a.test"
    )
    since = fleet.now_ms - 5_000
    facts: dict[Any, Any] = {
        "round_robin_seq": 11, "operator_drain": 12, "failures": 13, "ejections": 14, "ejected_since": since,
        "ejected_until": fleet.now_ms + 16, "ejected_reason": "misconfigured", "errors": 17, "last_error_at": 18,
        "shared_at": fleet.now_ms, "moves": 19, "moved": 20, "kept": 21, "move_failed": 22, "last_error": "odd",
        "setup": "clock_off", "key": "sealed",
    }  # fmt: skip
    await redis.hset(fleet.keys.node(A), mapping=facts)
    fleet.wait(1)
    [sfu] = (await fleet.registry.fleet.snapshot()).sfus
    assert sfu == SfuStatus(
        address=A, region="eu", state="drained", breaker="open", generation=1, heartbeat_age_ms=1,
        reason="operator", tier="", eligibility="", sealed_key="sealed", public_url="https://a.test",
        last_error="odd", setup="clock_off", down_reason="", channels=3, sessions=10, max_sessions=100,
        reserved=0, load=0.25, effective_load=0.25, cpu=0.5, memory=0.25, sessions_term=0.05, cpu_term=0.15,
        memory_term=0.05, round_robin_seq=11, registered_at=fleet.now_ms - 1, drain_until=12, failures=13,
        ejections=14, ejected_since=since, ejected_for_ms=15, errors=17, last_error_at=18, is_shared=True,
        moves=19, moved=20, kept=21, move_failed=22, down_at=0, at=fleet.now_ms,
    )  # fmt: skip
    await redis.hset(fleet.keys.node(A), mapping={"down_at": 23, "down_reason": "expired"})
    [sfu] = (await fleet.registry.fleet.snapshot()).sfus
    assert (sfu.down_at, sfu.down_reason, sfu.state) == (23, "expired", "lost")
