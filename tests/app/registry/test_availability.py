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
class Watched:
    """What reading the registry gives: a snapshot, or an error."""

    content: Snapshot | Exception = field(default_factory=lambda: fleet("a", "b"))
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
        if isinstance(self.content, Exception):
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

    async def reads_as(self, content: Snapshot | Exception, *, after_s: float = 1) -> str:
        """Let time pass, then let the replica read this; the mode it is in then."""
        self.clock.now += after_s
        self.content = content
        await self.switch.refresh()
        return self.switch.mode

    def known(self) -> set[str]:
        """The SFUs that the snapshot has."""
        return {address.removeprefix("http://") for address in self.switch.snapshot.addresses}


@pytest.fixture
async def watched() -> Watched:
    """A registry that has been read once."""
    watched = Watched()
    await watched.switch.refresh()
    return watched


# In use


async def test_while_redis_answers_the_registry_is_used_and_the_snapshot_follows(watched: Watched) -> None:
    assert await watched.reads_as(fleet("b", "c")) == "available"
    assert watched.known() == {"b", "c"}
    assert watched.switch.snapshot.regions == {"region of b", "region of c"}
    assert (watched.switch.uses_registry, watched.switch.refuses_heartbeats) == (True, False)


async def test_an_empty_registry_is_believed_while_its_epoch_is_the_same(watched: Watched) -> None:
    assert await watched.reads_as(fleet()) == "available"
    assert watched.known() == set()


# Away


async def test_a_call_that_failed_turns_the_switch_and_the_snapshot_stays(watched: Watched) -> None:
    watched.switch.trip(GONE, watched.clock.now)
    assert watched.switch.mode == "unavailable"
    assert (watched.switch.uses_registry, watched.switch.refuses_heartbeats) == (False, True)
    assert watched.known() == {"a", "b"}


async def test_a_reply_that_was_lost_while_redis_answered_others_does_not(watched: Watched) -> None:
    watched.answered_at = watched.clock.now + 0.1
    watched.switch.trip(GONE, watched.clock.now)
    assert watched.switch.mode == "available"
    assert watched.failures == [GONE]


async def test_reading_notices_too(watched: Watched) -> None:
    assert await watched.reads_as(GONE) == "unavailable"
    assert await watched.reads_as(GONE) == "unavailable"
    assert watched.known() == {"a", "b"}


# Returning


async def test_with_every_sfu_in_it_the_registry_is_back_at_once(watched: Watched) -> None:
    await watched.reads_as(GONE)
    assert await watched.reads_as(fleet("a", "b", "c")) == "available"
    assert watched.known() == {"a", "b", "c"}


async def test_until_every_sfu_is_back_the_snapshot_serves_and_heartbeats_are_taken(watched: Watched) -> None:
    await watched.reads_as(GONE)
    assert await watched.reads_as(fleet("a")) == "recovering"
    assert (watched.switch.uses_registry, watched.switch.refuses_heartbeats) == (False, False)
    assert watched.known() == {"a", "b"}
    assert await watched.reads_as(fleet("a", "b")) == "available"


async def test_who_has_not_reported_within_a_heartbeat_interval_is_not_waited_for(watched: Watched) -> None:
    await watched.reads_as(GONE)
    assert await watched.reads_as(fleet("a")) == "recovering"
    assert await watched.reads_as(fleet("a"), after_s=11.9) == "recovering"
    assert await watched.reads_as(fleet("a"), after_s=0.1) == "available"
    assert watched.known() == {"a"}


async def test_an_outage_on_the_way_back_starts_over(watched: Watched) -> None:
    await watched.reads_as(GONE)
    await watched.reads_as(fleet("a"))
    assert await watched.reads_as(GONE, after_s=11) == "unavailable"
    assert await watched.reads_as(fleet("a"), after_s=11) == "recovering"
    assert watched.known() == {"a", "b"}


async def test_a_replica_that_started_without_redis_waits_for_nobody() -> None:
    watched = Watched(GONE)
    await watched.switch.refresh()
    assert watched.switch.mode == "unavailable"
    assert await watched.reads_as(fleet("a")) == "available"


# Data lost


async def test_a_registry_that_lost_its_data_fills_before_it_is_believed(watched: Watched) -> None:
    assert await watched.reads_as(fleet(began_at="")) == "recovering"
    assert await watched.reads_as(fleet("a", began_at="2")) == "recovering"
    assert watched.known() == {"a", "b"}
    assert await watched.reads_as(fleet("a", "b", began_at="2")) == "available"
    assert await watched.reads_as(fleet("a", began_at="2")) == "available"


async def test_even_one_that_stays_empty_is_believed_in_the_end(watched: Watched) -> None:
    await watched.reads_as(fleet(began_at=""))
    assert await watched.reads_as(fleet(began_at=""), after_s=12) == "available"
    assert watched.known() == set()


async def test_the_first_sfu_of_a_new_registry_is_no_loss() -> None:
    watched = Watched(fleet(began_at=""))
    await watched.switch.refresh()
    assert await watched.reads_as(fleet("a", began_at="1")) == "available"


# Most SFUs silent


async def test_while_most_sfus_are_silent_the_snapshot_serves(watched: Watched) -> None:
    assert await watched.reads_as(fleet("a", is_held=True)) == "recovering"
    assert await watched.reads_as(fleet("a", is_held=True), after_s=60) == "recovering"
    assert watched.known() == {"a", "b"}
    assert await watched.reads_as(fleet("a", "b")) == "available"


async def test_after_the_silence_there_is_an_interval_to_report_in(watched: Watched) -> None:
    await watched.reads_as(fleet("a", is_held=True))
    await watched.reads_as(fleet("a", is_held=True), after_s=60)
    assert await watched.reads_as(fleet("a"), after_s=11.9) == "recovering"
    assert await watched.reads_as(fleet("a"), after_s=0.1) == "available"


async def test_a_replica_that_starts_amid_the_silence_takes_what_there_is() -> None:
    watched = Watched(fleet("a", is_held=True))
    await watched.switch.refresh()
    assert (watched.switch.mode, watched.known()) == ("recovering", {"a"})


# Telling what was learned


async def test_what_was_learned_is_told_once_and_before_the_registry_is_used_again(watched: Watched) -> None:
    await watched.reads_as(GONE)
    await watched.reads_as(fleet("a"))
    assert watched.returns == []
    await watched.reads_as(fleet("a", "b"))
    await watched.reads_as(fleet("a", "b"))
    assert watched.returns == ["recovering"]


async def test_when_telling_fails_redis_is_away_and_telling_is_tried_again(watched: Watched) -> None:
    watched.return_error = GONE
    await watched.reads_as(GONE)
    assert await watched.reads_as(fleet("a", "b")) == "unavailable"
    watched.return_error = None
    assert await watched.reads_as(fleet("a", "b")) == "available"
    assert watched.returns == ["recovering", "recovering"]


# In the background


async def test_it_reads_before_it_runs_and_goes_on_reading() -> None:
    watched = Watched()
    async with watched.switch.running():
        assert watched.reads == 1
        watched.content = fleet("c")
        await eventually(lambda: watched.known() == {"c"})


async def test_when_a_call_fails_it_looks_at_once_whether_redis_is_back() -> None:
    watched = Watched()
    async with watched.switch.running():
        await asyncio.sleep(0)
        watched.switch.trip(GONE, watched.clock.now)
        await eventually(lambda: watched.switch.uses_registry, timeout_seconds=0.5)


async def test_an_sfu_that_the_snapshot_lacks_is_read_at_once_and_not_more_often_than_a_redis_that_is_away() -> (
    None
):
    watched = Watched()
    async with watched.switch.running():
        await asyncio.sleep(0.01)
        watched.switch.read_soon()  # the reading is of this moment
        await asyncio.sleep(0.01)
        assert watched.reads == 1
        watched.clock.now += 0.25
        watched.switch.read_soon()
        await eventually(lambda: watched.reads == 2, timeout_seconds=0.5)


async def test_a_redis_that_hangs_is_asked_again_soon() -> None:
    """Each try takes as long as a call may; that is no reason to wait as after reading a large fleet."""
    watched = Watched(GONE, read_takes_s=0.25)
    async with watched.switch.running():
        await eventually(lambda: watched.reads >= 4, timeout_seconds=4)


async def test_after_a_read_that_redis_kept_waiting_the_next_one_comes_soon() -> None:
    """What a read took that began while Redis was away says nothing about the fleet."""
    watched = Watched()
    async with watched.switch.running():
        watched.content, watched.read_takes_s = fleet("a"), 10
        watched.switch.trip(GONE, watched.clock.now)
        await eventually(lambda: watched.switch.mode == "recovering")
        watched.content, watched.read_takes_s = fleet("a", "b"), 0
        await eventually(lambda: watched.switch.uses_registry, timeout_seconds=3)


def test_a_slow_redis_does_not_make_the_snapshot_old() -> None:
    assert pause_after(0.001, is_away=False, is_settled=True) == 1
    assert pause_after(10, is_away=False, is_settled=True) == 1


def test_whole_readings_of_a_large_fleet_take_at_most_half_of_the_time() -> None:
    assert pause_after(2, is_away=False, is_settled=False) == 2
    assert pause_after(0.001, is_away=False, is_settled=False) == 0.25
    assert pause_after(10, is_away=True, is_settled=False) == 0.25


# Static SFUs (S19)


async def test_a_replica_that_starts_without_redis_serves_its_static_sfus() -> None:
    watched = Watched(GONE, initial=fleet("s", began_at=""))
    await watched.switch.refresh()
    assert (watched.switch.mode, watched.known()) == ("unavailable", {"s"})
    assert await watched.reads_as(fleet("a")) == "recovering"
    assert watched.known() == {"s", "a"}
    assert await watched.reads_as(fleet("a", "s")) == "available"


async def test_static_sfus_that_are_not_registered_yet_serve_until_the_next_reading() -> None:
    watched = Watched(fleet("a"), initial=fleet("s", began_at=""))
    await watched.switch.refresh()
    assert (watched.switch.mode, watched.known()) == ("available", {"s", "a"})
    await watched.reads_as(fleet("a"))
    assert watched.known() == {"a"}


async def test_each_snapshot_that_is_kept_is_told() -> None:
    watched = Watched(fleet("a"))
    await watched.switch.refresh()
    await watched.reads_as(GONE)
    await watched.reads_as(fleet("b"))
    assert watched.snapshots == [{"a"}]
    await watched.reads_as(fleet("a", "b"))
    assert watched.snapshots == [{"a"}, {"a", "b"}]


# Redis' clock


async def test_redis_clock_is_known_from_the_last_reading(watched: Watched) -> None:
    await watched.reads_as(replace(fleet("a", "b"), at_ms=5_000_000))
    watched.clock.now += 60
    await watched.reads_as(GONE, after_s=0)
    assert watched.switch.redis_ms() == 5_060_000


async def test_a_defect_ends_one_reading_and_the_last_snapshot_stays() -> None:
    watched = Watched()
    await watched.reads_as(fleet("a"))
    assert await watched.reads_as(RuntimeError("nobody expects this")) == "available"
    assert watched.known() == {"a"}
    await watched.reads_as(fleet("a", "b"))
    assert watched.known() == {"a", "b"}
