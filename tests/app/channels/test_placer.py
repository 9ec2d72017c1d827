"""Placing by the registry, and without it: the change from one to the other and back."""

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from app.channels.call_memory import CallMemory, ConfirmationFollower
from app.channels.fallback import SnapshotPlacer
from app.channels.placer import Placer, RegistryWait
from app.errors import NoSfuAvailable, Overloaded, RegistryUnavailable, TenantLimitReached
from app.registry.availability import RegistryAvailability
from app.registry.fleet_reader import FleetPage
from app.registry.placements import (
    Busy,
    Confirmed,
    ConfirmedPlacement,
    ForwardOutcome,
    Outcome,
    Placement,
    PlacementRequest,
)
from tests.lua.fleet import KEY, A, B, C, Fleet
from tests.support.calls import call_id
from tests.support.engines import fake_engine
from tests.support.simulated import Clock
from tests.support.waiting import eventually


@dataclass
class Replica:
    """A placer on a fleet, and the cable between them."""

    fleet: Fleet
    answered_at: float = 0
    slow_at: float = -math.inf

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.requests = 0
        self.current: dict[str, str] = {}
        registry = self.fleet.registry
        self.switch = RegistryAvailability(
            registry.fleet.snapshot,
            grace_s=12,
            on_return=self._tell,
            answered_at=lambda: self.answered_at,
            slow_at=lambda: self.slow_at,
            clock=self.clock,
        )
        self.memory = CallMemory(self.switch.redis_ms, ttl_ms=14_400_000)
        self.local = SnapshotPlacer(lambda: self.switch.snapshot, self.clock, self.memory)
        self.placer = Placer(registry, self.local, self.switch)

    async def _tell(self) -> None:
        await self.placer.flush_offline()

    def cut(self) -> None:
        """From now on Redis does not answer."""
        self.fleet.client.connection_pool.connection_kwargs["server"].connected = False

    def connect(self) -> None:
        """From now on Redis answers; the replica has not noticed."""
        self.fleet.client.connection_pool.connection_kwargs["server"].connected = True

    async def fleet_reports(self) -> None:
        """Both SFUs send a heartbeat; Redis gets it, the replica knows nothing of that."""
        kwargs = self.fleet.client.connection_pool.connection_kwargs
        kwargs["server"].connected = True
        await self.fleet.beat(A)
        await self.fleet.beat(B, sessions=500)
        kwargs["server"].connected = False

    async def mend(self) -> None:
        """Redis answers again, and the replica has noticed."""
        self.connect()
        await self.switch.refresh()

    async def select(self, issuer: str = "issuer", fingerprint: str = "", **request: object) -> Placement:
        """One request for a channel."""
        self.requests += 1
        self.current[issuer] = f"request {self.requests} of {issuer}"
        call = call_id(issuer, channel_key_fingerprint=fingerprint)
        asked = PlacementRequest(self.current[issuer], call, **request)  # type: ignore[arg-type]
        answer = await self.placer.select(asked)
        assert not isinstance(answer, Busy)
        return answer

    async def report(
        self,
        outcome: Outcome,
        placement: Placement,
        issuer: str = "issuer",
        *,
        fingerprint: str = "",
        is_limited: bool = False,
    ) -> None:
        """Report how that request ended."""
        ended = self.outcome(outcome, placement, issuer)
        await self.placer.record_outcome(
            replace(ended, call=call_id(issuer, channel_key_fingerprint=fingerprint), is_limited=is_limited)
        )

    def outcome(self, outcome: Outcome, placement: Placement, issuer: str = "issuer") -> ForwardOutcome:
        """How that request ended."""
        return ForwardOutcome(
            self.current.get(issuer, "none"),
            call_id(issuer),
            placement,
            outcome,
            uuid=f"channel of {issuer}",
        )

    def without_redis(self, issuer: str) -> str:
        """Where a replica with the same snapshot places the issuer without Redis."""
        return self.local.preferred(PlacementRequest("any", call_id(issuer)))

    async def calls(self, count: int) -> dict[str, str]:
        """Place calls on both SFUs; where each is."""
        await self.fleet.beat(B, sessions=0)
        places = {}
        for number in range(count):
            placement = await self.select(issuer := f"issuer {number}")
            await self.report("created", placement, issuer)
            places[issuer] = placement.address
        assert set(places.values()) == {A, B}
        return places


@pytest.fixture
async def replica() -> AsyncIterator[Replica]:
    """A replica that has seen A, idle, and B, busy."""
    client: Redis = fake_engine().connect()
    async with client:
        replica = Replica(Fleet(client))
        await replica.fleet.beat(A)
        await replica.fleet.beat(B, sessions=500)
        await replica.switch.refresh()
        yield replica


async def test_the_cable_can_be_cut_and_mended(replica: Replica) -> None:
    replica.cut()
    with pytest.raises(RedisConnectionError):
        await replica.fleet.client.ping()
    await replica.mend()
    assert await replica.fleet.client.ping()


# By the registry


async def test_while_redis_answers_the_registry_places(replica: Replica) -> None:
    placement = await replica.select()
    assert (placement.address, placement.is_local) == (A, False)
    assert await replica.fleet.reserved(A) == 4
    assert replica.placer.open_key(placement) == KEY


async def test_that_there_is_none_is_the_registrys_to_say(replica: Replica) -> None:
    for address in (A, B):
        await replica.fleet.registry.registrations.sign_off(address, KEY)
    with pytest.raises(NoSfuAvailable):
        await replica.select()
    assert replica.switch.uses_registry


async def test_unless_it_has_just_lost_its_data(replica: Replica) -> None:
    await replica.fleet.client.flushall()
    placement = await replica.select()
    assert placement.is_local
    assert replica.switch.mode == "recovering"


async def test_an_sfu_that_has_just_registered_is_known_before_redis_goes_away(replica: Replica) -> None:
    async with replica.switch.running():
        await replica.fleet.beat(C, region="of C")
        replica.clock.now += 0.25
        assert (await replica.select(groups=[["of C"]])).address == C
        await eventually(lambda: replica.local.knows(C), timeout_seconds=0.5)
    replica.cut()
    assert (await replica.select(groups=[["of C"]])).address == C


async def test_an_overloaded_fleet_is_no_reason_to_leave_the_registry(replica: Replica) -> None:
    for address in (A, B):
        await replica.fleet.beat(address, sessions=1_000)
    with pytest.raises(Overloaded):
        await replica.select()


async def test_a_reply_that_was_lost_is_asked_for_again_while_redis_answers_others(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    select = replica.fleet.registry.select

    async def lose_one_reply(request: PlacementRequest) -> Placement | Busy:
        monkeypatch.setattr(replica.fleet.registry, "select", select)
        await select(request)
        replica.answered_at = replica.clock.now + 1
        raise RegistryUnavailable("select: TimeoutError")

    monkeypatch.setattr(replica.fleet.registry, "select", lose_one_reply)
    placement = await replica.select()
    assert (placement.address, placement.is_local) == (A, False)
    assert await replica.fleet.reserved(A) == 4


# A refusal (S8)


async def test_a_refusal_reads_no_fleet(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = _count_readings(replica, monkeypatch)
    for number in range(8):
        with pytest.raises(NoSfuAvailable):
            await replica.select(f"issuer {number}", groups=(("nowhere",),), allow=("nowhere",))
    assert reads == []


async def test_a_refusal_that_names_the_epoch_asks_redis_nothing_else(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = replica.switch.snapshot.epoch

    async def refuse(_: PlacementRequest) -> Placement:
        raise NoSfuAvailable("none", epoch=epoch)

    monkeypatch.setattr(replica.fleet.registry, "select", refuse)
    replica.cut()
    with pytest.raises(NoSfuAvailable):
        await replica.select()
    assert replica.switch.uses_registry


async def test_refusals_at_once_by_a_registry_that_lost_its_data_share_readings(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = _count_readings(replica, monkeypatch)
    await replica.fleet.client.flushall()
    placements = await asyncio.gather(*(replica.select(f"issuer {number}") for number in range(50)))
    assert all(placement.is_local for placement in placements)
    assert len(reads) <= 3


def _count_readings(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    reads: list[float] = []
    page = replica.fleet.registry.fleet.page

    async def counted(*arguments: Any) -> FleetPage:
        reads.append(replica.clock.now)
        return await page(*arguments)

    monkeypatch.setattr(replica.fleet.registry.fleet, "page", counted)
    return reads


# Without it


async def test_when_redis_does_not_answer_the_replica_places_by_itself_from_then_on(replica: Replica) -> None:
    replica.cut()
    placement = await replica.select()
    assert placement.is_local
    assert replica.placer.open_key(placement) == KEY
    assert replica.switch.mode == "unavailable"
    assert await replica.select() == placement


async def test_a_failure_without_redis_is_remembered_here(replica: Replica) -> None:
    replica.cut()
    first = await replica.select()
    await replica.report("failed", first)
    assert (await replica.select()).address != first.address


@pytest.mark.parametrize("cut_first", [True, False])
async def test_what_the_registry_did_not_hear_of_is_told_when_it_is_back(
    replica: Replica, *, cut_first: bool
) -> None:
    if cut_first:
        replica.cut()
    placement = await replica.select()
    replica.cut()
    await replica.report("created", placement)
    await replica.mend()
    registry = replica.fleet.registry
    owner = await registry.channel_owner("channel of issuer")
    assert owner is not None
    assert owner.address == placement.address
    replica.fleet.wait(2_600)  # a request that holds the placement and never reports loses it
    again = await replica.select()
    assert (again.address, again.reason, again.is_local) == (placement.address, "sticky", False)


async def test_what_is_placed_while_that_is_told_is_told_too(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica.cut()
    await replica.report("created", await replica.select("first"), "first")
    confirm = replica.fleet.registry.confirm

    async def confirm_slowly(*calls: ConfirmedPlacement) -> list[Confirmed]:
        if calls[0].call.issuer == "first":
            await replica.report("created", await replica.select("second"), "second")
        return await confirm(*calls)

    monkeypatch.setattr(replica.fleet.registry, "confirm", confirm_slowly)
    await replica.mend()
    assert replica.switch.uses_registry
    assert await replica.fleet.owner_of("channel of second")


async def test_so_is_what_was_on_its_way_when_the_registry_came_back(replica: Replica) -> None:
    replica.cut()
    placement = await replica.select()
    await replica.mend()
    await replica.report("created", placement)
    again = await replica.select()
    assert (again.address, again.uuid) == (placement.address, "channel of issuer")


async def test_what_could_not_be_told_is_told_the_next_time(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica.cut()
    await replica.report("created", await replica.select())
    confirm = replica.fleet.registry.confirm

    async def lose_the_connection(*calls: ConfirmedPlacement) -> list[Confirmed]:
        replica.cut()
        return await confirm(*calls)

    monkeypatch.setattr(replica.fleet.registry, "confirm", lose_the_connection)
    await replica.mend()
    assert replica.switch.mode == "unavailable"
    monkeypatch.setattr(replica.fleet.registry, "confirm", confirm)
    await replica.mend()
    assert replica.switch.uses_registry
    assert await replica.fleet.owner_of("channel of issuer")


async def test_what_is_placed_without_redis_is_told_as_soon_as_redis_answers_anybody(
    replica: Replica,
) -> None:
    replica.cut()
    await replica.report("created", await replica.select())
    async with replica.placer.running():
        replica.connect()
        await eventually(lambda: replica.fleet.owner_of("channel of issuer"))
    assert not replica.switch.uses_registry
    assert len(replica.local.outbox) == 1  # a failover may lose it: it is confirmed again on return
    await replica.mend()
    assert len(replica.local.outbox) == 0


async def test_a_channel_whose_report_was_lost_is_told_once_more_while_the_registry_is_used(
    replica: Replica,
) -> None:
    placement = await replica.select()
    replica.local.outbox.keep(replica.outcome("created", placement).confirmed(replica.memory.now_ms))
    async with replica.placer.running():
        await eventually(lambda: replica.fleet.owner_of("channel of issuer"))
        await eventually(lambda: len(replica.local.outbox) == 0)


# Redis is slow: two replicas agree (R29)


async def test_while_redis_is_slow_both_ends_choose_the_same_sfu(replica: Replica) -> None:
    await replica.fleet.beat(B, sessions=0)
    await replica.switch.refresh()
    replica.slow_at = replica.clock.now
    without = {issuer: replica.without_redis(issuer) for issuer in map(str, range(20))}
    assert {issuer: (await replica.select(issuer)).address for issuer in without} == without
    assert set(without.values()) == {A, B}


async def test_so_do_they_just_after_redis_was_away_as_another_replica_may_return_later(
    replica: Replica,
) -> None:
    await replica.fleet.beat(B, sessions=0)
    replica.cut()
    await replica.select("first")
    await replica.mend()
    without = {issuer: replica.without_redis(issuer) for issuer in map(str, range(20))}
    assert {issuer: (await replica.select(issuer)).address for issuer in without} == without


async def test_some_seconds_later_the_load_decides_again(replica: Replica) -> None:
    replica.slow_at = replica.clock.now
    replica.clock.now += 13
    assert {(await replica.select(str(number))).address for number in range(20)} == {A}


async def test_a_request_that_waits_for_another_one_follows_it_when_redis_goes_away(replica: Replica) -> None:
    first = await replica.select("issuer")
    wait = replica.placer.wait()
    other = next(each for each in map(str, range(99)) if replica.without_redis(each) != first.address)
    request = PlacementRequest("second", call_id(), preferred=other)
    assert await replica.placer.select(request, wait) == Busy(2_500, first.address)
    replica.cut()
    assert (await replica.placer.select(request, wait)).address == first.address


async def test_a_request_whose_reply_was_the_only_one_to_get_lost_finds_its_call(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = next(each for each in map(str, range(99)) if replica.without_redis(each) == B)
    await replica.fleet.place(other, id="earlier")
    select, replies = replica.fleet.registry.select, iter([RegistryUnavailable("lost")])

    async def lose_the_first(request: PlacementRequest) -> Placement | Busy:
        for error in replies:
            raise error
        return await select(request)

    monkeypatch.setattr(replica.fleet.registry, "select", lose_the_first)
    assert (await replica.select(other)).address == A
    assert replica.switch.mode == "unavailable"
    assert (await replica.select("next")).is_local


# How long a request waits for Redis (R10)


async def test_a_request_that_has_waited_long_enough_is_placed_without_redis(replica: Replica) -> None:
    placement = await replica.placer.select(PlacementRequest("request", call_id()), RegistryWait(0))
    assert isinstance(placement, Placement)
    assert placement.is_local
    assert replica.switch.uses_registry


async def test_a_slow_call_gets_what_the_calls_before_it_have_left(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(request: PlacementRequest) -> Placement:
        await asyncio.Event().wait()
        raise AssertionError(request)

    monkeypatch.setattr(replica.fleet.registry, "select", hang)
    placement = await replica.placer.select(PlacementRequest("request", call_id()), RegistryWait(0.01))
    assert isinstance(placement, Placement)
    assert placement.is_local


async def test_waiting_for_another_request_is_not_waiting_for_redis(replica: Replica) -> None:
    await replica.select()
    wait = RegistryWait(0.3)
    assert isinstance(await replica.placer.select(PlacementRequest("second", call_id()), wait), Busy)
    assert wait.left_s == 0.3


async def test_a_report_that_the_request_has_no_time_for_is_put_off(replica: Replica) -> None:
    report = replica.outcome("created", await replica.select())
    assert not await replica.placer.record_outcome(report, RegistryWait(0))
    assert len(replica.local.outbox) == 0
    assert await replica.placer.record_outcome(report, replica.placer.wait())
    assert await replica.fleet.owner_of("channel of issuer")


# Known calls (S4)


async def test_calls_that_this_replica_placed_stay_during_an_outage_and_after_it(replica: Replica) -> None:
    places = await replica.calls(20)
    replica.cut()
    during = {issuer: (await replica.select(issuer)).address for issuer in places}
    await replica.mend()
    after = {issuer: (await replica.select(issuer)).address for issuer in places}
    assert during == after == places


async def test_a_call_that_another_replica_confirmed_stays_too(replica: Replica) -> None:
    follower = ConfirmationFollower(replica.memory, replica.fleet.registry)
    await follower.catch_up()
    await replica.fleet.place("early")
    await follower.catch_up()
    await replica.fleet.beat(A, sessions=900)
    late = await replica.fleet.place("late")
    assert late.address == B
    await follower.catch_up()
    replica.cut()
    placement = await replica.select("late")
    assert (placement.address, placement.uuid, placement.is_local) == (B, "channel of late", True)
    assert (await replica.select("early")).address == A


async def test_a_sticky_answer_of_the_registry_is_remembered(replica: Replica) -> None:
    await replica.fleet.beat(A, sessions=900)
    await replica.fleet.place(id="of another replica", caller="192.0.2.7")
    assert (await replica.select(caller="192.0.2.8")).reason == "sticky"
    replica.cut()
    placement = await replica.select(caller="192.0.2.9")
    assert (placement.address, placement.reason, placement.caller) == (B, "sticky", "192.0.2.7")
    assert placement.generation == 2


async def test_a_call_that_moved_without_redis_stays_where_it_went(replica: Replica) -> None:
    placement = await replica.select()
    await replica.report("created", placement)
    replica.cut()
    replica.fleet.wait(60_000)
    replica.clock.now += 60
    await replica.report("failed", await replica.select())
    moved = await replica.select()
    assert moved.address != placement.address
    await replica.report("created", moved)
    await replica.fleet_reports()
    await replica.mend()
    assert replica.switch.uses_registry
    assert (await replica.select()).address == moved.address


async def test_calls_stay_where_they_are_when_the_registry_loses_its_data(replica: Replica) -> None:
    places = await replica.calls(70)
    await replica.fleet.client.flushall()
    await replica.switch.refresh()
    replica.fleet.wait(60_000)
    replica.clock.now += 60
    await replica.fleet.beat(A)
    await replica.fleet.beat(B)
    await replica.switch.refresh()
    assert replica.switch.uses_registry
    after = {issuer: await replica.select(issuer) for issuer in places}
    assert {issuer: placement.address for issuer, placement in after.items()} == places
    assert {placement.is_local for placement in after.values()} == {False}
    assert await replica.fleet.reserved(A) == 0


async def test_a_channel_placed_without_redis_counts_for_its_tenant(replica: Replica) -> None:
    replica.cut()
    await replica.report("created", await replica.select(max_placements=1), is_limited=True)
    await replica.mend()
    with pytest.raises(TenantLimitReached):
        await replica.select("another", max_placements=1)


async def test_databases_that_share_an_issuer_are_two_calls(replica: Replica) -> None:
    await replica.fleet.beat(A, sessions=900)
    await replica.report("created", await replica.select(fingerprint="one"), fingerprint="one")
    await replica.fleet.beat(A)
    await replica.fleet.beat(B, sessions=900)
    await replica.report("created", await replica.select(fingerprint="two"), fingerprint="two")
    replica.cut()
    one = await replica.select(fingerprint="one")
    two = await replica.select(fingerprint="two")
    assert (one.address, two.address, one.reason, two.reason) == (B, A, "sticky", "sticky")
    assert (one.has_other_key, two.has_other_key) == (False, True)
    third = await replica.select(fingerprint="three")
    assert (third.reason, third.has_other_key) == ("least-load", True)
