"""The fleet as viewers, the history and the metrics see it: by the one reading."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from app.crypto.tokens import Key
from app.dashboard.history import History
from app.errors import RegistryUnavailable
from app.registry.availability import RegistryAvailability
from app.registry.capacity import Limits
from app.registry.fleet_reader import FleetPage, FleetReader
from app.registry.known_fleet import FleetFollower, KnownFleet, period_of
from app.registry.registry import Registry
from app.registry.sfus import SfuReport, SfuStatus
from app.registry.snapshot import Snapshot
from app.settings.model import Settings
from app.telemetry.fleet_gauges import FleetGauges
from app.telemetry.metrics import Metrics
from tests.support.sfus import SFU
from tests.support.simulated import Clock
from tests.support.waiting import eventually


class Follower:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.is_cut = False

    def begin(self) -> None:
        self.heard.append("begin")

    def take(self, sfus: Sequence[SfuStatus]) -> None:
        self.heard += [str(sfu.sessions) for sfu in sfus]

    async def finish(self) -> None:
        if self.is_cut:
            raise RegistryUnavailable("away")
        self.heard.append("finish")


class Replica:
    """The reading of one replica, of SFUs that a test sets."""

    def __init__(self, *followers: FleetFollower) -> None:
        self.clock = Clock()
        self.sessions = {"b": 8, "a": 7}
        self.readings = 0
        self.is_away = False
        self.reader = FleetReader(_no_page, self.clock)
        self.switch = RegistryAvailability(
            self._read, grace_s=12, on_return=_return, answered_at=lambda: -1.0, clock=self.clock
        )
        self.fleet = KnownFleet(self.switch, self.reader, followers, self.clock)

    async def _read(self) -> Snapshot:
        self.readings += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise RegistryUnavailable("away")
        sfus = [replace(SFU, address=name, sessions=sessions) for name, sessions in self.sessions.items()]
        return Snapshot(tuple(sfus[:1]), began_at="1", others=tuple(sfus[1:]))


async def _return() -> None:
    pass


async def _no_page(*_: object) -> FleetPage:
    raise AssertionError


async def test_viewers_see_every_sfu_by_region_and_address_and_the_snapshot_has_the_same() -> None:
    replica = Replica()
    seen = await replica.fleet.read()
    assert [sfu.address for sfu in seen] == ["a", "b"]
    assert {*replica.switch.snapshot.sfus} == {*seen}
    replica.sessions["c"] = 9
    replica.clock.now += 1
    assert {*replica.switch.snapshot.sfus} == {*seen}
    assert {*await replica.fleet.read()} == {*replica.switch.snapshot.sfus} > {*seen}


async def test_viewers_at_once_share_a_reading_and_later_ones_get_a_new_one() -> None:
    replica = Replica()
    first, second = await asyncio.gather(replica.fleet.read(), replica.fleet.read())
    assert (replica.readings, first) == (1, second)
    replica.clock.now += 1
    await replica.fleet.read()
    assert replica.readings == 2
    replica.fleet.expire()
    await replica.fleet.read()
    assert replica.readings == 3


async def test_a_reading_that_began_before_an_operators_order_is_not_shared_after_it() -> None:
    replica = Replica()
    begun = asyncio.create_task(replica.fleet.read())
    await asyncio.sleep(0)
    assert replica.readings == 1
    replica.fleet.expire()
    await begun
    await replica.fleet.read()
    assert replica.readings == 2
    await replica.fleet.read()
    assert replica.readings == 2


async def test_while_redis_is_away_viewers_see_what_was_seen_last_and_read_nothing() -> None:
    replica = Replica()
    seen = await replica.fleet.read_or_last_seen()
    replica.is_away = True
    replica.clock.now += 1
    assert await replica.fleet.read_or_last_seen() == seen
    replica.clock.now += 1
    with pytest.raises(RegistryUnavailable):
        await replica.fleet.read()
    assert (replica.readings, replica.switch.mode) == (2, "unavailable")


async def test_followers_take_every_sfu_and_read_nothing() -> None:
    one, other = Follower(), Follower()
    replica = Replica(one, other)
    await replica.switch.refresh()
    await replica.fleet.follow()
    assert one.heard == other.heard == ["begin", "8", "7", "finish"]
    assert replica.readings == 1


async def test_followers_keep_what_they_have_while_redis_is_away() -> None:
    follower = Follower()
    replica = Replica(follower)
    replica.is_away = True
    await replica.switch.refresh()
    await replica.fleet.follow()
    assert follower.heard == []


async def test_followers_follow_in_the_background_and_a_failure_stops_nothing() -> None:
    follower = Follower()
    follower.is_cut = True
    replica = Replica(follower)
    await replica.switch.refresh()
    async with replica.fleet.running():
        await eventually(lambda: follower.heard == ["begin", "8", "7"])
        follower.is_cut = False
        await replica.fleet.follow()
    assert follower.heard[3:] == ["begin", "8", "7", "finish"]


async def test_one_reading_serves_the_snapshot_the_history_and_the_metrics(redis: Redis) -> None:
    registry = Registry.from_settings(redis, Settings(key=(Key(b"k" * 32),)))
    for number in range(3):
        await registry.registrations.heartbeat(
            SfuReport(f"http://sfu{number}:8070", "eu-west", Key(b"s" * 32), sessions=number)
        )
    pages = []

    async def page(after: str, count: int, after_event: str, besides: Sequence[str]) -> FleetPage:
        pages.append(after)
        return await registry.fleet.page(after, count, after_event, besides)

    reader = FleetReader(page)
    switch = RegistryAvailability(reader.read, grace_s=12, on_return=_return, answered_at=lambda: -1.0)
    metrics, history = Metrics(), History()
    fleet = KnownFleet(switch, reader, (history, FleetGauges(metrics, registry, Limits(0.9, 0.5))))
    assert [sfu.sessions for sfu in await fleet.read()] == [0, 1, 2]
    await fleet.follow()
    assert pages == [""]
    assert len(switch.snapshot.nodes) == 3
    assert history.of("http://sfu2:8070").sessions[-1] == 2
    assert metrics.registry.get_sample_value("sfu_gateway_sessions", {"region": "eu-west"}) == 3


@pytest.mark.parametrize(("sfus", "period_s"), [(0, 10), (1_000, 10), (4_000, 18), (100_000, 45)])
def test_a_large_fleet_is_followed_less_often_but_once_in_a_step_of_the_history(
    sfus: int, period_s: float
) -> None:
    assert period_of(sfus) == period_s
