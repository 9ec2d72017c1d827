"""One reading of the fleet for all who follow it."""

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from app.crypto.tokens import Key
from app.dashboard.history import History
from app.errors import RegistryUnavailable
from app.registry.capacity import Limits
from app.registry.fleet_reader import FleetReader, pause_after
from app.registry.registry import Registry
from app.registry.sfus import SfuReport, SfuStatus
from app.settings.model import Settings
from app.telemetry.fleet_gauges import FleetGauges
from app.telemetry.metrics import Metrics
from tests.support.sfus import SFU
from tests.support.waiting import eventually


class Page(list[SfuStatus]):
    """A page whose end can be seen."""

    __slots__ = ("__weakref__",)


class Store:
    """A fleet in pages, that may break off."""

    def __init__(self, *sessions: int) -> None:
        self.sessions = sessions
        self.readings = 0
        self.breaks_after = len(sessions)
        self.handed_out: list[weakref.ref[Page]] = []

    async def pages(self) -> AsyncGenerator[Sequence[SfuStatus]]:
        self.readings += 1
        for number, sessions in enumerate(self.sessions):
            if number == self.breaks_after:
                raise RegistryUnavailable("away")
            page = Page([replace(SFU, address=f"http://sfu{number}:8070", sessions=sessions)])
            self.handed_out.append(weakref.ref(page))
            yield page
            del page


class Follower:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def begin(self) -> None:
        self.heard.append("begin")

    def take(self, page: Iterable[SfuStatus]) -> None:
        self.heard += [str(sfu.sessions) for sfu in page]

    async def finish(self) -> None:
        self.heard.append("finish")


async def test_one_reading_serves_the_history_and_the_metrics(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry.from_settings(redis, Settings(key=(Key(b"k" * 32),)))
    for number in range(3):
        await registry.registrations.heartbeat(
            SfuReport(f"http://sfu{number}:8070", "eu-west", Key(b"s" * 32), sessions=number)
        )
    readings = []

    def pages() -> AsyncGenerator[Sequence[SfuStatus]]:
        readings.append("one")
        return registry.fleet.pages()

    metrics, history = Metrics(), History()
    gauges = FleetGauges(metrics, registry, Limits(0.9, 0.5))
    await FleetReader(pages, (history, gauges)).read()
    assert readings == ["one"]
    assert history.of("http://sfu2:8070").sessions[-1] == 2
    assert metrics.registry.get_sample_value("sfu_gateway_sessions", {"region": "eu-west"}) == 3


async def test_followers_get_every_page_between_begin_and_finish() -> None:
    one, other = Follower(), Follower()
    await FleetReader(Store(7, 8).pages, (one, other)).read()
    assert one.heard == other.heard == ["begin", "7", "8", "finish"]


async def test_a_reading_that_breaks_off_is_not_finished_and_the_next_begins_anew() -> None:
    store, follower = Store(7, 8), Follower()
    store.breaks_after = 1
    reader = FleetReader(store.pages, [follower])
    with pytest.raises(RegistryUnavailable):
        await reader.read()
    store.breaks_after = 2
    await reader.read()
    assert follower.heard == ["begin", "7", "begin", "7", "8", "finish"]


async def test_no_page_outlives_its_turn() -> None:
    store, alive = Store(*range(5)), []

    class Watcher(Follower):
        def take(self, page: Iterable[SfuStatus]) -> None:
            alive.append(sum(handed_out() is not None for handed_out in store.handed_out))

    await FleetReader(store.pages, (History(), Watcher())).read()
    gc.collect()
    assert max(alive) <= 2
    assert not any(handed_out() for handed_out in store.handed_out)


async def test_who_wants_the_whole_fleet_gets_it_sorted_and_followers_do_too() -> None:
    store, follower = Store(7, 8), Follower()
    fleet = await FleetReader(store.pages, [follower]).fleet()
    assert [sfu.address for sfu in fleet] == ["http://sfu0:8070", "http://sfu1:8070"]
    assert follower.heard == ["begin", "7", "8", "finish"]
    assert store.readings == 1


async def test_viewers_at_once_share_a_reading_and_later_ones_get_a_new_one() -> None:
    store, now = Store(7, 8), 0.0
    reader = FleetReader(store.pages, [], lambda: now)
    first, second = await asyncio.gather(reader.fleet(), reader.fleet())
    assert (store.readings, first) == (1, second)
    now = 1.0
    await reader.fleet()
    assert store.readings == 2
    reader.expire()
    await reader.fleet()
    assert store.readings == 3


async def test_in_the_background_it_reads_at_once_and_an_empty_store_stops_nothing() -> None:
    store, follower = Store(7), Follower()
    store.breaks_after = 0
    reader = FleetReader(store.pages, [follower])
    async with reader.running():
        await eventually(lambda: store.readings == 1)
        store.breaks_after = 1
        await reader.read()
    assert follower.heard == ["begin", "begin", "7", "finish"]


@pytest.mark.parametrize(("took_s", "pause_s"), [(0.0, 10), (0.1, 10), (0.5, 25), (5.0, 45)])
def test_a_large_fleet_is_read_less_often_but_once_in_a_step_of_the_history(
    took_s: float, pause_s: float
) -> None:
    assert pause_after(took_s) == pause_s
