"""Transitions for viewers: from now on or from where they left, however slow they are."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.errors import RegistryUnavailable
from app.events.feed import EventFeed
from app.settings.model import Settings
from tests.journeys.deployment import Deployment, Replica
from tests.lua.fleet import KEY, A, B, Fleet
from tests.support.apps import running_app
from tests.support.engines import RedisServer, fake_engine
from tests.support.waiting import eventually_sync

Viewer = AsyncIterator[bytes | None]


def read(piece: bytes | None) -> list[dict[str, Any]]:
    """The events in what a viewer is sent."""
    lines = (piece or b"").decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    """SFUs that come and go on a Redis in this process."""
    async with fake_engine().connect() as client:
        yield Fleet(client)


@pytest.fixture
async def feed(fleet: Fleet) -> AsyncIterator[EventFeed]:
    """A running feed, to which all that happened before A came up is history."""
    await fleet.beat(A)
    feed = EventFeed(fleet.registry)
    async with feed.running():
        yield feed


async def come_and_go(fleet: Fleet, times: int) -> None:
    """Two events each time."""
    for _ in range(times):
        await fleet.beat(B)
        await fleet.registry.registrations.sign_off(B, KEY)


async def take(viewer: Viewer, count: int) -> list[str]:
    """The types of the next events."""
    types: list[str] = []
    async with asyncio.timeout(5):
        async for piece in viewer:
            types += [event["type"] for event in read(piece)]
            if len(types) >= count:
                break
    return types


async def follow(feed: EventFeed, after: str | None = None) -> tuple[Viewer, "asyncio.Future[bytes | None]"]:
    """A viewer that waits for its first event."""
    viewer = feed.follow(after)
    first = asyncio.ensure_future(anext(viewer))
    await asyncio.sleep(0)  # the viewer notes where the stream ends
    assert not first.done()
    return viewer, first


async def test_a_new_viewer_sees_what_happens_from_now_on(fleet: Fleet, feed: EventFeed) -> None:
    viewer, first = await follow(feed)
    await come_and_go(fleet, 2)
    seen = read(await first)
    assert (seen[0]["type"], seen[0]["address"]) == ("up", B)
    while len(seen) < 4:
        seen += read(await asyncio.wait_for(anext(viewer), 5))
    assert [event["type"] for event in seen] == ["up", "down"] * 2


async def test_a_viewer_that_came_before_the_feed_had_found_the_end_sees_new_events_only(
    fleet: Fleet,
) -> None:
    await come_and_go(fleet, 3)
    feed = EventFeed(fleet.registry, look_up_s=0.01)
    _, first = await follow(feed)
    async with feed.running():
        await fleet.beat(A)
        assert [event["address"] for event in read(await first)] == [A]


async def test_a_viewer_that_comes_back_gets_what_it_missed(fleet: Fleet, feed: EventFeed) -> None:
    last = await fleet.registry.outbox.last_event_id()
    await come_and_go(fleet, 2)
    assert await take(feed.follow(last), 4) == ["up", "down"] * 2
    assert await take(feed.follow("0-0"), 5) == ["up"] + ["up", "down"] * 2


async def test_a_viewer_that_comes_back_gets_what_the_feed_still_has_without_redis(
    fleet: Fleet, feed: EventFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first = await follow(feed)
    await come_and_go(fleet, 2)
    event = read(await first)[0]

    async def refuse(*_: object) -> Any:
        raise RegistryUnavailable("events_after: TimeoutError")

    monkeypatch.setattr(fleet.registry.outbox, "events_after", refuse)
    assert await take(feed.follow(event["id"]), 3) == ["down", "up", "down"]


async def test_a_viewer_that_fell_behind_is_told_and_goes_on_with_the_newest(fleet: Fleet) -> None:
    await fleet.beat(A)
    feed = EventFeed(fleet.registry, replay=5)
    async with feed.running():
        viewer, first = await follow(feed)
        await come_and_go(fleet, 10)
        newest = await fleet.registry.outbox.last_event_id()
        seen = read(await first)
        while seen[-1]["id"] != newest:
            seen += read(await asyncio.wait_for(anext(viewer), 5))
        gap = max(place for place, event in enumerate(seen) if event["type"] == "gap")
        assert seen[gap + 1]["id"] in seen[gap]["reason"]
        assert len(seen[gap + 1 :]) >= 5


async def test_a_replay_is_of_the_newest_events_also_of_those_before_the_replica_started(
    fleet: Fleet,
) -> None:
    await come_and_go(fleet, 10)
    feed = EventFeed(fleet.registry, replay=5)
    async with feed.running():
        await follow(feed)
        assert await take(feed.follow("0-0"), 6) == ["gap", "down"] + ["up", "down"] * 2
        newest = await fleet.registry.outbox.newest_events(5)
        assert await take(feed.follow(newest[0][0]), 4) == ["up", "down"] * 2


async def test_a_replay_comes_in_pieces(fleet: Fleet) -> None:
    await come_and_go(fleet, 4)
    feed = EventFeed(fleet.registry, frames_per_write=3)
    async with feed.running():
        await follow(feed)
        viewer = feed.follow("0-0")
        assert [len(read(await anext(viewer))) for _ in range(3)] == [3, 3, 2]


async def test_many_viewers_cost_one_reader(fleet: Fleet, feed: EventFeed) -> None:
    viewers = [await follow(feed) for _ in range(3)]
    await come_and_go(fleet, 1)
    pieces = [await first for _, first in viewers]
    assert all(piece is pieces[0] or piece == pieces[0] for piece in pieces)


async def test_closing_ends_every_stream(feed: EventFeed) -> None:
    _, first = await follow(feed)
    feed.close()
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(first, 2)
    assert [event async for event in feed.follow(None)] == []


async def test_a_quiet_stream_shows_that_it_lives(fleet: Fleet) -> None:
    feed = EventFeed(fleet.registry, look_up_s=0.01, keep_alive_s=0.02)
    assert await asyncio.wait_for(anext(feed.follow(None)), 2) is None


async def test_redis_may_be_away_at_the_start_and_in_between(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = fleet.client.connection_pool.connection_kwargs["server"]
    server.connected = False
    feed = EventFeed(fleet.registry, poll_s=0.01)
    has_failed, events_after = asyncio.Event(), fleet.registry.outbox.events_after

    async def noted(stream_id: str, count: int) -> Any:
        try:
            return await events_after(stream_id, count)
        except RegistryUnavailable:
            has_failed.set()
            raise

    monkeypatch.setattr(fleet.registry.outbox, "events_after", noted)
    async with feed.running(), asyncio.timeout(5):
        viewer, first = await follow(feed)
        server.connected = True
        while not first.done():  # events before the feed has found the end are history
            await come_and_go(fleet, 1)
        server.connected = False
        await has_failed.wait()
        server.connected = True
        await fleet.beat(A)
        seen = read(await first)
        while seen[-1]["address"] != A:
            seen += read(await anext(viewer))


async def test_viewers_never_make_the_feed_read_redis(
    fleet: Fleet, feed: EventFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first = await follow(feed)
    await come_and_go(fleet, 1)
    await first
    calls, events_after = 0, fleet.registry.outbox.events_after

    async def count(stream_id: str, number: int) -> Any:
        nonlocal calls
        calls += 1
        return await events_after(stream_id, number)

    monkeypatch.setattr(fleet.registry.outbox, "events_after", count)
    viewers = [feed.follow("1-1") for _ in range(50)]
    async with asyncio.timeout(1):
        assert all([read(await anext(viewer)) for viewer in viewers])
    assert calls < 20  # the feed's own polls


# Over HTTP, from a real server


@pytest.fixture
def replica(own_server: RedisServer, tmp_path: Path) -> Any:
    """A gateway in a process of its own."""
    with Deployment(own_server, tmp_path) as deployment:
        yield deployment.replica()


def frames(lines: Any, count: int) -> list[dict[str, str]]:
    """The next server-sent events, each by its fields."""
    found: list[dict[str, str]] = []
    fields: dict[str, str] = {}
    for line in lines:
        if not line and fields:
            found.append(fields)
            fields = {}
            if len(found) == count:
                break
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
    return found


def stream(replica: Replica, **headers: str) -> Any:
    """A request for server-sent events."""
    return replica.client.stream("GET", "/v1/events", headers=headers)


def test_events_are_server_sent_with_replay(replica: Replica) -> None:
    key = "a2V5IG9mIG9uZSBTRlUsIG5vdCBvZiBhbnkgb3RoZXI="
    with stream(replica) as live:
        lines = live.iter_lines()
        assert next(lines) == ": connected"
        assert live.headers["content-type"].startswith("text/event-stream")
        assert live.headers["cache-control"] == "no-store"
        replica.heartbeat(A, key)
        replica.heartbeat(A, key, status="down")
        up, down = frames(lines, 2)
    assert [json.loads(frame["data"])["type"] for frame in (up, down)] == ["up", "down"]
    assert (up["event"], json.loads(up["data"])["id"]) == ("up", up["id"])
    with stream(replica, **{"Last-Event-ID": up["id"]}) as again:
        assert frames(again.iter_lines(), 1) == [down]


@pytest.mark.parametrize("wrong", ["", "yesterday", "1-2-3", "-1", "1" * 21])
async def test_a_wrong_place_in_the_stream_is_refused(wrong: str) -> None:
    async with running_app(Settings(key=(KEY,))) as client:
        answer = await client.get("/v1/events", headers={"Last-Event-ID": wrong})
    assert (answer.status_code, answer.json()["field"]) == (422, "Last-Event-ID")


def test_event_streams_are_bounded_and_free_again_when_their_viewers_leave(
    own_server: RedisServer, tmp_path: Path
) -> None:
    with Deployment(own_server, tmp_path) as deployment:
        replica = deployment.replica(limits__max_viewers="3", limits__max_viewers_per_caller="2")
        with stream(replica), stream(replica):
            refused = replica.client.get("/v1/events")
            assert (refused.status_code, refused.json()["code"]) == (503, "too_many_viewers")
            assert refused.headers["retry-after"] == "10"
        eventually_sync(lambda: _opens(replica))


def _opens(replica: Replica) -> bool:
    with stream(replica) as answer:
        return bool(answer.status_code == 200)
