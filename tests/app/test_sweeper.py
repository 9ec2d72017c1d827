"""The sweeper on a fleet whose clock is in the test's hands, with real SFUs where it talks to them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from fakeredis import FakeAsyncRedis

from app.errors import RegistryUnavailable
from app.events.event import unpack_event
from app.sweeper import Sweeper
from app.upstream.addresses import AddressGuard
from app.upstream.client import Forwarder
from tests.lua.fleet import KEY, A, B, Fleet
from tests.support.engines import fake_engine
from tests.support.logs import captured_logs
from tests.support.simulated import running_sfu
from tests.support.waiting import eventually
from workers.simulator.faults import Hang, NoFault
from workers.simulator.sfu import SimulatedSfu

Heard = Callable[[], Awaitable[list[str]]]


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    """A fleet on a Redis in this process."""
    async with fake_engine().connect() as client:
        yield Fleet(client)


@pytest.fixture
async def make_sweeper(fleet: Fleet) -> AsyncIterator[Callable[..., Sweeper]]:
    """Make sweepers of the fleet."""
    async with Forwarder(AddressGuard()) as forwarder:

        def make() -> Sweeper:
            return Sweeper(fleet.registry, forwarder, tick_s=0.01, probe_timeout_s=0.2)

        yield make


@pytest.fixture
def sweeper(make_sweeper: Callable[..., Sweeper]) -> Sweeper:
    """The only one."""
    return make_sweeper()


@pytest.fixture
async def heard(fleet: Fleet) -> AsyncIterator[Heard]:
    """What was published until now, as `type address`."""
    server = fleet.client.connection_pool.connection_kwargs["server"]
    said: list[str] = []
    async with FakeAsyncRedis(server=server) as client, client.pubsub() as subscription:
        await subscription.subscribe("sfu:events")

        async def listen() -> list[str]:
            while message := await subscription.get_message(timeout=0.05):
                if message["type"] == "message":
                    event = unpack_event(message["data"])
                    said.append(f"{event['type']} {event['address']}")
            return said

        yield listen


@pytest.fixture
async def sfu() -> AsyncIterator[SimulatedSfu]:
    """A real SFU."""
    async with running_sfu() as (sfu, _):
        yield sfu


async def lose_lease(fleet: Fleet) -> None:
    """The leader was too slow."""
    await fleet.client.delete(fleet.keys.sweeper)


# What is due


async def test_who_is_silent_is_down_when_the_threshold_has_passed(fleet: Fleet, sweeper: Sweeper) -> None:
    await fleet.beat()
    fleet.wait(29_999)
    await sweeper.tick()
    assert await fleet.state() == "selectable"
    fleet.wait(1)
    await sweeper.tick()
    assert await fleet.state() == "lost"


async def test_the_log_names_who_is_silent(fleet: Fleet, sweeper: Sweeper) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    fleet.wait(30_000)
    with captured_logs() as text:
        await sweeper.tick()
    lines = [json.loads(line) for line in text.getvalue().splitlines()]
    assert [sorted(line["sfus"]) for line in lines if line["event"] == "expired"] == [sorted([A, B])]


async def test_however_many_are_due_one_round_ends_them(fleet: Fleet, sweeper: Sweeper) -> None:
    for number in range(60):
        await fleet.beat(f"http://{number}.test")
    fleet.wait(30_000)
    await sweeper.tick()
    assert len(await fleet.listed()) == 60  # so many at once: the network is the suspect
    fleet.wait(30_000)
    await sweeper.tick()
    assert await fleet.listed() == set()


async def test_what_a_dead_replica_held_is_free_again(fleet: Fleet, sweeper: Sweeper) -> None:
    await fleet.beat()
    for number in range(30):
        await fleet.select(f"issuer {number}", lock_ms=1_000)
    fleet.wait(1_000)
    await sweeper.tick()
    assert await fleet.reserved() == 0


async def test_a_drain_ends_at_its_deadline(fleet: Fleet, sweeper: Sweeper) -> None:
    await fleet.beat(sessions=5)
    await fleet.registry.fleet.drain(A, deadline_ms=1_000)
    fleet.wait(1_000)
    for _ in range(2):
        await sweeper.tick()
    assert (await fleet.events())[-2:] == ["draining operator", "drained deadline"]


async def test_the_lost_are_forgotten_after_a_while(fleet: Fleet, sweeper: Sweeper) -> None:
    await fleet.beat()
    await fleet.registry.registrations.sign_off(A, KEY)
    fleet.wait(599_999)
    await sweeper.tick()
    assert [status.address for status in await fleet.registry.fleet.sfus()] == [A]
    fleet.wait(1)
    await sweeper.tick()
    assert await fleet.registry.fleet.sfus() == []


# Recovery


async def test_an_sfu_with_an_open_breaker_comes_back_by_a_probe_and_a_success(
    fleet: Fleet, sweeper: Sweeper, sfu: SimulatedSfu
) -> None:
    await sweeper.tick()
    await fleet.beat(sfu.address)
    await fleet.beat(B, sessions=500)
    await fleet.fail(sfu.address, times=5)
    await sweeper.probe()
    assert sfu.calls == []  # not before its time

    await sfu.set_fault(Hang())
    fleet.wait(28_000)
    await fleet.beat(sfu.address)
    await sweeper.probe()
    assert (await fleet.registry.fleet.describe(sfu.address)).breaker == "open"

    await sfu.set_fault(NoFault())
    fleet.wait(58_000)
    await fleet.beat(sfu.address)
    await sweeper.probe()
    assert (await fleet.registry.fleet.describe(sfu.address)).breaker == "half-open"
    assert [call.path for call in sfu.calls] == ["/v1/noop", "/v1/noop"]

    assert (await fleet.place()).address == sfu.address
    assert (await fleet.registry.fleet.describe(sfu.address)).breaker == "closed"
    assert (await fleet.events(sfu.address))[-2:] == ["up recovered", "breaker-closed success"]


async def due_for_a_probe(fleet: Fleet, sfu: SimulatedSfu) -> None:
    await fleet.beat(sfu.address)
    await fleet.fail(sfu.address, times=5)
    fleet.wait(28_000)
    await fleet.beat(sfu.address)


async def test_only_the_leader_probes(
    fleet: Fleet, make_sweeper: Callable[..., Sweeper], sfu: SimulatedSfu
) -> None:
    leader, other = make_sweeper(), make_sweeper()
    await leader.tick()
    await other.tick()
    await due_for_a_probe(fleet, sfu)
    await other.probe()
    assert sfu.calls == []
    await leader.probe()
    assert len(sfu.calls) == 1


async def test_an_sfu_that_hangs_holds_up_nothing_else(
    fleet: Fleet, sweeper: Sweeper, sfu: SimulatedSfu, heard: Heard
) -> None:
    await sfu.set_fault(Hang())
    await due_for_a_probe(fleet, sfu)
    async with sweeper.running():
        await eventually(lambda: sfu.calls)
        await fleet.beat(A)
        fleet.wait(30_000)
        async with asyncio.timeout(1.5):  # a probe takes two seconds
            while f"down {A}" not in await heard():
                pass


# Publishing


async def test_events_are_published_in_order_and_once(fleet: Fleet, sweeper: Sweeper, heard: Heard) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await sweeper.tick()
    await fleet.registry.registrations.sign_off(A, KEY)
    for _ in range(3):
        await sweeper.tick()
    assert await heard() == [f"up {A}", f"up {B}", f"down {A}"]


async def test_a_backlog_of_any_length_is_published(fleet: Fleet, sweeper: Sweeper, heard: Heard) -> None:
    for _ in range(250):
        await fleet.beat()
        await fleet.registry.registrations.sign_off(A, KEY)
    await sweeper.tick()
    assert await heard() == [f"up {A}", f"down {A}"] * 250


async def test_what_was_published_and_not_marked_is_published_again(
    fleet: Fleet, make_sweeper: Callable[..., Sweeper], heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fleet.beat(A)
    await fleet.beat(B)

    async def crash(*_: str) -> bool:
        raise RegistryUnavailable("mark_relayed: ConnectionError")

    with monkeypatch.context() as patch:
        patch.setattr(fleet.registry.outbox, "commit_cursor", crash)
        with pytest.raises(RegistryUnavailable):
            await make_sweeper().tick()
    await lose_lease(fleet)
    await make_sweeper().tick()
    assert await heard() == [f"up {A}", f"up {B}"] * 2


async def test_a_publisher_that_dies_half_way_leaves_the_rest_to_the_next(
    fleet: Fleet, make_sweeper: Callable[..., Sweeper], heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in (A, B):
        await fleet.beat(address)
    publish, published = fleet.registry.outbox.publish, 0

    async def die_after_one(payload: bytes) -> None:
        nonlocal published
        if published:
            raise RegistryUnavailable("publish: ConnectionError")
        published += 1
        await publish(payload)

    with monkeypatch.context() as patch:
        patch.setattr(fleet.registry.outbox, "publish", die_after_one)
        with pytest.raises(RegistryUnavailable):
            await make_sweeper().tick()
    await lose_lease(fleet)
    await make_sweeper().tick()
    assert await heard() == [f"up {A}", f"up {A}", f"up {B}"]


async def test_two_sweepers_publish_once(
    fleet: Fleet, make_sweeper: Callable[..., Sweeper], heard: Heard
) -> None:
    async with make_sweeper().running(), make_sweeper().running():
        for _ in range(10):
            await fleet.beat()
            await fleet.registry.registrations.sign_off(A, KEY)
            await eventually(lambda: _is_relayed(fleet))
    assert await heard() == [f"up {A}", f"down {A}"] * 10


async def test_another_sweeper_goes_on_where_the_leader_stopped(
    fleet: Fleet, make_sweeper: Callable[..., Sweeper], heard: Heard
) -> None:
    first, second = make_sweeper(), make_sweeper()
    await fleet.beat(A)
    await first.tick()
    await fleet.beat(B)
    await second.tick()
    assert await heard() == [f"up {A}"]
    await lose_lease(fleet)
    await second.tick()
    await first.tick()
    assert await heard() == [f"up {A}", f"up {B}"]


async def _is_relayed(fleet: Fleet) -> bool:
    return await fleet.registry.outbox.cursor() == await fleet.registry.outbox.last_event_id()


# Redis away


async def test_an_outage_of_redis_is_no_silence_of_sfus(
    fleet: Fleet, make_sweeper: Callable[..., Sweeper], heard: Heard
) -> None:
    server = fleet.client.connection_pool.connection_kwargs["server"]
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.registry.fleet.snapshot()
    with captured_logs() as log:
        async with make_sweeper().running():
            await eventually(lambda: _is_relayed(fleet))
            server.connected = False
            await eventually(lambda: "redis_away" in log.getvalue())
            fleet.wait(60_000)
            server.connected = True
            await eventually(lambda: "redis_back" in log.getvalue())  # after a whole round
            await fleet.registry.fleet.snapshot()
            for _ in range(29):
                fleet.wait(1_000)
                await fleet.registry.fleet.snapshot()
            await fleet.beat(B)
            assert await fleet.events(A) == ["up registered"]
            fleet.wait(1_000)
            await eventually(lambda: _has(heard, f"down {A}"))
    assert await heard() == [f"up {A}", f"up {B}", f"down {A}"]
    assert await fleet.state(B) == "selectable"


async def _has(heard: Heard, event: str) -> bool:
    return event in await heard()
