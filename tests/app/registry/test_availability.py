"""When a replica believes in the registry, and what it knows of the fleet meanwhile."""

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from app.errors import RegistryUnavailable
from app.registry.availability import RegistryAvailability, pause_after
from app.registry.snapshot import EMPTY_SNAPSHOT, Snapshot
from tests.support.sfus import SFU
from tests.support.simulated import Clock
from tests.support.waiting import eventually

GONE = RegistryUnavailable("snapshot: TimeoutError")


def fleet(*names: str, began_at: str = "1", is_held: bool = False) -> Snapshot:
    """A snapshot of idle SFUs."""
    nodes = (replace(SFU, address=f"http://{name}", region=f"region of {name}") for name in names)
    return Snapshot(tuple(nodes), began_at=began_at, is_held=is_held)


@dataclass
class Store:
    """What reading the registry gives: a snapshot, or an error."""

    content: Snapshot | RegistryUnavailable = field(default_factory=lambda: fleet("a", "b"))
    initial: Snapshot = EMPTY_SNAPSHOT
    clock: Clock = field(default_factory=Clock)
    read_takes_s: float = 0
    answered_at: float = 0
    reads: int = 0
    snapshots: list[set[str]] = field(default_factory=list)
    returns: list[str] = field(default_factory=list)
    return_error: RegistryUnavailable | None = None
    failures: list[RegistryUnavailable] = field(default_factory=list)

    async def read(self) -> Snapshot:
        self.reads += 1
        self.clock.now += self.read_takes_s
        if isinstance(self.content, RegistryUnavailable):
            raise self.content
        return self.content

    async def on_snapshot(self) -> None:
        self.snapshots.append(self.known())

    async def on_return(self) -> None:
        self.returns.append(self.switch.mode)
        if self.return_error is not None:
            raise self.return_error

    def __post_init__(self) -> None:
        self.switch = RegistryAvailability(
            self.read,
            grace_s=12,
            on_return=self.on_return,
            answered_at=lambda: self.answered_at,
            clock=self.clock,
            on_failure=self.failures.append,
            on_snapshot=self.on_snapshot,
            initial=self.initial,
        )

    async def reads_as(self, content: Snapshot | RegistryUnavailable, *, after_s: float = 1) -> str:
        """Let time pass, then let the replica read this; the mode it is in then."""
        self.clock.now += after_s
        self.content = content
        await self.switch.refresh()
        return self.switch.mode

    def known(self) -> set[str]:
        """The SFUs that the snapshot has."""
        return {address.removeprefix("http://") for address in self.switch.snapshot.addresses}


@pytest.fixture
async def store() -> Store:
    """A store that has been read once."""
    store = Store()
    await store.switch.refresh()
    return store


# In use


async def test_while_redis_answers_the_registry_is_used_and_the_snapshot_follows(store: Store) -> None:
    assert await store.reads_as(fleet("b", "c")) == "registry"
    assert store.known() == {"b", "c"}
    assert store.switch.snapshot.regions == {"region of b", "region of c"}
    assert (store.switch.uses_registry, store.switch.refuses_heartbeats) == (True, False)


async def test_an_empty_registry_is_believed_while_its_epoch_is_the_same(store: Store) -> None:
    assert await store.reads_as(fleet()) == "registry"
    assert store.known() == set()


# Away


async def test_a_call_that_failed_turns_the_switch_and_the_snapshot_stays(store: Store) -> None:
    store.switch.trip(GONE, store.clock.now)
    assert store.switch.mode == "away"
    assert (store.switch.uses_registry, store.switch.refuses_heartbeats) == (False, True)
    assert store.known() == {"a", "b"}


async def test_a_reply_that_was_lost_while_redis_answered_others_does_not(store: Store) -> None:
    store.answered_at = store.clock.now + 0.1
    store.switch.trip(GONE, store.clock.now)
    assert store.switch.mode == "registry"
    assert store.failures == [GONE]


async def test_reading_notices_too(store: Store) -> None:
    assert await store.reads_as(GONE) == "away"
    assert await store.reads_as(GONE) == "away"
    assert store.known() == {"a", "b"}


# Returning


async def test_with_every_sfu_in_it_the_registry_is_back_at_once(store: Store) -> None:
    await store.reads_as(GONE)
    assert await store.reads_as(fleet("a", "b", "c")) == "registry"
    assert store.known() == {"a", "b", "c"}


async def test_until_every_sfu_is_back_the_snapshot_serves_and_heartbeats_are_taken(store: Store) -> None:
    await store.reads_as(GONE)
    assert await store.reads_as(fleet("a")) == "returning"
    assert (store.switch.uses_registry, store.switch.refuses_heartbeats) == (False, False)
    assert store.known() == {"a", "b"}
    assert await store.reads_as(fleet("a", "b")) == "registry"


async def test_who_has_not_reported_within_a_heartbeat_interval_is_not_waited_for(store: Store) -> None:
    await store.reads_as(GONE)
    assert await store.reads_as(fleet("a")) == "returning"
    assert await store.reads_as(fleet("a"), after_s=11.9) == "returning"
    assert await store.reads_as(fleet("a"), after_s=0.1) == "registry"
    assert store.known() == {"a"}


async def test_an_outage_on_the_way_back_starts_over(store: Store) -> None:
    await store.reads_as(GONE)
    await store.reads_as(fleet("a"))
    assert await store.reads_as(GONE, after_s=11) == "away"
    assert await store.reads_as(fleet("a"), after_s=11) == "returning"
    assert store.known() == {"a", "b"}


async def test_a_replica_that_started_without_redis_waits_for_nobody() -> None:
    store = Store(GONE)
    await store.switch.refresh()
    assert store.switch.mode == "away"
    assert await store.reads_as(fleet("a")) == "registry"


# Data lost


async def test_a_registry_that_lost_its_data_fills_before_it_is_believed(store: Store) -> None:
    assert await store.reads_as(fleet(began_at="")) == "returning"
    assert await store.reads_as(fleet("a", began_at="2")) == "returning"
    assert store.known() == {"a", "b"}
    assert await store.reads_as(fleet("a", "b", began_at="2")) == "registry"
    assert await store.reads_as(fleet("a", began_at="2")) == "registry"


async def test_even_one_that_stays_empty_is_believed_in_the_end(store: Store) -> None:
    await store.reads_as(fleet(began_at=""))
    assert await store.reads_as(fleet(began_at=""), after_s=12) == "registry"
    assert store.known() == set()


async def test_the_first_sfu_of_a_new_registry_is_no_loss() -> None:
    store = Store(fleet(began_at=""))
    await store.switch.refresh()
    assert await store.reads_as(fleet("a", began_at="1")) == "registry"


# Most SFUs silent


async def test_while_most_sfus_are_silent_the_snapshot_serves(store: Store) -> None:
    assert await store.reads_as(fleet("a", is_held=True)) == "returning"
    assert await store.reads_as(fleet("a", is_held=True), after_s=60) == "returning"
    assert store.known() == {"a", "b"}
    assert await store.reads_as(fleet("a", "b")) == "registry"


async def test_after_the_silence_there_is_an_interval_to_report_in(store: Store) -> None:
    await store.reads_as(fleet("a", is_held=True))
    await store.reads_as(fleet("a", is_held=True), after_s=60)
    assert await store.reads_as(fleet("a"), after_s=11.9) == "returning"
    assert await store.reads_as(fleet("a"), after_s=0.1) == "registry"


async def test_a_replica_that_starts_amid_the_silence_takes_what_there_is() -> None:
    store = Store(fleet("a", is_held=True))
    await store.switch.refresh()
    assert (store.switch.mode, store.known()) == ("returning", {"a"})


# Telling what was learned


async def test_what_was_learned_is_told_once_and_before_the_registry_is_used_again(store: Store) -> None:
    await store.reads_as(GONE)
    await store.reads_as(fleet("a"))
    assert store.returns == []
    await store.reads_as(fleet("a", "b"))
    await store.reads_as(fleet("a", "b"))
    assert store.returns == ["returning"]


async def test_when_telling_fails_redis_is_away_and_telling_is_tried_again(store: Store) -> None:
    store.return_error = GONE
    await store.reads_as(GONE)
    assert await store.reads_as(fleet("a", "b")) == "away"
    store.return_error = None
    assert await store.reads_as(fleet("a", "b")) == "registry"
    assert store.returns == ["returning", "returning"]


# In the background


async def test_it_reads_before_it_runs_and_goes_on_reading() -> None:
    store = Store()
    async with store.switch.running():
        assert store.reads == 1
        store.content = fleet("c")
        await eventually(lambda: store.known() == {"c"})


async def test_when_a_call_fails_it_looks_at_once_whether_redis_is_back() -> None:
    store = Store()
    async with store.switch.running():
        await asyncio.sleep(0)
        store.switch.trip(GONE, store.clock.now)
        await eventually(lambda: store.switch.uses_registry, timeout_seconds=0.5)


async def test_an_sfu_that_the_snapshot_lacks_is_read_at_once_and_not_more_often_than_a_redis_that_is_away() -> (
    None
):
    store = Store()
    async with store.switch.running():
        await asyncio.sleep(0.01)
        store.switch.read_soon()  # the reading is of this moment
        await asyncio.sleep(0.01)
        assert store.reads == 1
        store.clock.now += 0.25
        store.switch.read_soon()
        await eventually(lambda: store.reads == 2, timeout_seconds=0.5)


async def test_a_redis_that_hangs_is_asked_again_soon() -> None:
    """Each try takes as long as a call may; that is no reason to wait as after reading a large fleet."""
    store = Store(GONE, read_takes_s=0.25)
    async with store.switch.running():
        await eventually(lambda: store.reads >= 4, timeout_seconds=4)


async def test_after_a_read_that_redis_kept_waiting_the_next_one_comes_soon() -> None:
    """What a read took that began while Redis was away says nothing about the fleet."""
    store = Store()
    async with store.switch.running():
        store.content, store.read_takes_s = fleet("a"), 10
        store.switch.trip(GONE, store.clock.now)
        await eventually(lambda: store.switch.mode == "returning")
        store.content, store.read_takes_s = fleet("a", "b"), 0
        await eventually(lambda: store.switch.uses_registry, timeout_seconds=3)


def test_a_slow_redis_does_not_make_the_snapshot_old() -> None:
    assert pause_after(0.001, is_away=False, is_settled=True) == 1
    assert pause_after(10, is_away=False, is_settled=True) == 1


def test_whole_readings_of_a_large_fleet_take_at_most_half_of_the_time() -> None:
    assert pause_after(2, is_away=False, is_settled=False) == 2
    assert pause_after(0.001, is_away=False, is_settled=False) == 0.25
    assert pause_after(10, is_away=True, is_settled=False) == 0.25


# Static SFUs (S19)


async def test_a_replica_that_starts_without_redis_serves_its_static_sfus() -> None:
    store = Store(GONE, initial=fleet("s", began_at=""))
    await store.switch.refresh()
    assert (store.switch.mode, store.known()) == ("away", {"s"})
    assert await store.reads_as(fleet("a")) == "returning"
    assert store.known() == {"s", "a"}
    assert await store.reads_as(fleet("a", "s")) == "registry"


async def test_static_sfus_that_are_not_registered_yet_serve_until_the_next_reading() -> None:
    store = Store(fleet("a"), initial=fleet("s", began_at=""))
    await store.switch.refresh()
    assert (store.switch.mode, store.known()) == ("registry", {"s", "a"})
    await store.reads_as(fleet("a"))
    assert store.known() == {"a"}


async def test_each_snapshot_that_is_kept_is_told() -> None:
    store = Store(fleet("a"))
    await store.switch.refresh()
    await store.reads_as(GONE)
    await store.reads_as(fleet("b"))
    assert store.snapshots == [{"a"}]
    await store.reads_as(fleet("a", "b"))
    assert store.snapshots == [{"a"}, {"a", "b"}]


# Redis' clock


async def test_redis_clock_is_known_from_the_last_reading(store: Store) -> None:
    await store.reads_as(replace(fleet("a", "b"), at_ms=5_000_000))
    store.clock.now += 60
    await store.reads_as(GONE, after_s=0)
    assert store.switch.redis_ms() == 5_060_000
