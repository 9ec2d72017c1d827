"""From the event of an SFU to what Odoo is told, with real HTTP between them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web

from app.crypto.tokens import Key
from app.rescue.announcer import Announcer
from app.rescue.odoo_queue import Pace
from app.rescue.targets import Targets
from app.upstream.addresses import AddressGuard
from app.upstream.client import Forwarder
from tests.lua.fleet import KEY, A, B, Fleet
from tests.support.engines import fake_engine
from tests.support.ports import free_port
from tests.support.rescue_odoo import Answer, FakeOdoo, all_are, fake_odoo, hangs, status
from tests.support.waiting import eventually

TENANT_KEY = Key(b"the gateway key of the tests, 32 bytes")
NEXT_KEY = Key(b"the next key of the tests, of 32 bytes")
NAME = "sweeper"
PACE = Pace(calls_per_second=10_000, answer_s=0.3, retry_for_s=1.0, first_pause_s=0.05, longest_pause_s=0.1)

Run = Callable[..., Awaitable[None]]
MakeOdoo = Callable[..., Awaitable[FakeOdoo]]


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    """A fleet on a Redis in this process, whose clock stands still."""
    async with fake_engine().connect() as client:
        fleet = Fleet(client, heartbeat_burst=10_000)
        await fleet.registry.sweeps.acquire_lease(NAME, 600_000)
        await fleet.registry.outbox.commit_cursor(NAME, "0-0", "rescue_cursor")
        yield fleet


@pytest.fixture
async def make_odoo() -> AsyncIterator[MakeOdoo]:
    """Start Odoos."""
    async with AsyncExitStack() as stack:

        async def make(answer: Answer, key: Key = TENANT_KEY) -> FakeOdoo:
            return await stack.enter_async_context(fake_odoo(key, answer))

        yield make


@pytest.fixture
async def announcer(fleet: Fleet) -> AsyncIterator[Announcer]:
    """The leader's."""
    guard = AddressGuard(("http://127.0.0.1:*",))
    targets = Targets(guard, {"default": (TENANT_KEY, NEXT_KEY)}, {})
    async with Forwarder(guard) as forwarder:
        announcer = Announcer(fleet.registry, forwarder, targets, PACE, name=NAME)
        yield announcer
        await announcer.stop()


async def lose(fleet: Fleet, *odoos: str, calls: int = 1) -> None:
    """Each Odoo has calls on an SFU that signs off while another one lives."""
    await fleet.beat(A)
    for url in odoos:
        for number in range(calls):
            await fleet.place(f"{url}:channel:{number}", uuid=f"{url[-5:]}-{number}")
    await fleet.beat(B)
    await fleet.registry.registrations.sign_off(A, KEY)


async def until_done(fleet: Fleet, announcer: Announcer) -> None:
    """Step until every event is dealt with."""
    last = await fleet.registry.outbox.last_event_id()

    async def is_done() -> bool:
        assert await announcer.step()
        return await fleet.registry.rescues.cursor() == last

    await eventually(is_done)


async def totals(fleet: Fleet) -> dict[str, int]:
    """How calls were rescued."""
    return {
        name: count
        for name, count in (await fleet.registry.rescues.totals()).items()
        if count and name != "ms"
    }


async def test_every_call_of_a_lost_sfu_is_told_in_messages_of_fifty_one_at_a_time(
    fleet: Fleet, announcer: Announcer, make_odoo: MakeOdoo
) -> None:
    odoo = await make_odoo(all_are("moved"))
    await lose(fleet, odoo.base_url, calls=120)
    await until_done(fleet, announcer)
    assert [len(message["uuids"]) for message in odoo.messages] == [50, 50, 20]
    assert len(set(odoo.uuids)) == 120
    assert odoo.most_at_once == 1
    assert {message["reason"] for message in odoo.messages} == {"down"}
    assert all(message["available"] for message in odoo.messages)
    assert await totals(fleet) == {"moved": 120}


@pytest.mark.parametrize("result", ["moved", "kept", "p2p"])
async def test_a_call_that_was_answered_is_never_told_again(
    fleet: Fleet, announcer: Announcer, make_odoo: MakeOdoo, result: str
) -> None:
    odoo = await make_odoo(all_are(result))
    await lose(fleet, odoo.base_url)
    await until_done(fleet, announcer)
    await announcer.stop()
    await fleet.registry.outbox.commit_cursor(NAME, "0-0", "rescue_cursor")  # as if the cursor had been lost
    await until_done(fleet, announcer)
    assert len(odoo.messages) == 1


async def test_the_first_sweeper_ever_begins_with_what_happens_from_now_on(
    fleet: Fleet, announcer: Announcer, make_odoo: MakeOdoo
) -> None:
    odoo = await make_odoo(all_are("moved"))
    await fleet.client.hdel(fleet.keys.fleet, "rescue_cursor")
    await lose(fleet, odoo.base_url)
    await until_done(fleet, announcer)
    assert odoo.messages == []


async def test_an_odoo_that_hangs_or_is_gone_delays_no_other(
    fleet: Fleet, announcer: Announcer, make_odoo: MakeOdoo
) -> None:
    hanging, well = await make_odoo(hangs), await make_odoo(all_are("moved"))
    gone = f"http://127.0.0.1:{free_port()}"
    await lose(fleet, hanging.base_url, gone, well.base_url, calls=3)
    await announcer.step()
    await eventually(lambda: len(well.messages) == 1, timeout_seconds=0.25)
    await until_done(fleet, announcer)
    assert await totals(fleet) == {"moved": 3, "failed": 6}
    assert 2 <= len(hanging.messages) <= 6
    assert hanging.most_at_once == 1


async def test_a_call_without_a_result_is_told_again_and_no_other(
    fleet: Fleet, announcer: Announcer, make_odoo: MakeOdoo
) -> None:
    async def forgets_one(claims: dict[str, Any]) -> web.Response:
        uuids = claims["uuids"][1:] or claims["uuids"]
        return web.json_response({"results": dict.fromkeys(uuids, "moved")})

    odoo = await make_odoo(forgets_one)
    await lose(fleet, odoo.base_url, calls=3)
    await until_done(fleet, announcer)
    assert odoo.uuids.count(odoo.uuids[0]) == 2
    assert len(odoo.uuids) == 4
    assert await totals(fleet) == {"moved": 3}


@pytest.mark.parametrize("code", [404, 405, 413, 422, 302])
async def test_what_an_operator_must_mend_is_not_retried(
    fleet: Fleet, announcer: Announcer, make_odoo: MakeOdoo, code: int
) -> None:
    odoo = await make_odoo(status(code))
    await lose(fleet, odoo.base_url)
    await until_done(fleet, announcer)
    assert len(odoo.messages) == 1
    assert await totals(fleet) == {"failed": 1}


async def test_a_wrong_key_is_asked_once_per_key(
    fleet: Fleet, announcer: Announcer, make_odoo: MakeOdoo
) -> None:
    odoo = await make_odoo(all_are("moved"), Key(b"quite another key, which nobody told us"))
    await lose(fleet, odoo.base_url)
    await until_done(fleet, announcer)
    assert (odoo.refused, odoo.messages) == (2, [])
    assert await totals(fleet) == {"failed": 1}


async def test_an_odoo_that_has_the_next_key_already_is_told(
    fleet: Fleet, announcer: Announcer, make_odoo: MakeOdoo
) -> None:
    odoo = await make_odoo(all_are("moved"), NEXT_KEY)
    await lose(fleet, odoo.base_url)
    await until_done(fleet, announcer)
    assert await totals(fleet) == {"moved": 1}


@pytest.mark.parametrize("code", [429, 500, 503])
async def test_a_busy_odoo_is_asked_again_until_it_answers(
    fleet: Fleet, announcer: Announcer, make_odoo: MakeOdoo, code: int
) -> None:
    odoo = await make_odoo(status(code))
    await lose(fleet, odoo.base_url)
    await announcer.step()
    await eventually(lambda: len(odoo.messages) >= 2)
    odoo.answer = all_are("moved")
    await until_done(fleet, announcer)
    assert await totals(fleet) == {"moved": 1}


async def test_without_any_sfu_odoo_is_told_so_and_there_is_no_loop(
    fleet: Fleet, announcer: Announcer, make_odoo: MakeOdoo
) -> None:
    odoo = await make_odoo(all_are("p2p"))
    await lose(fleet, odoo.base_url)
    await fleet.registry.registrations.sign_off(B, KEY)
    await until_done(fleet, announcer)
    assert [message["available"] for message in odoo.messages] == [False]


async def test_a_sweeper_that_takes_over_tells_what_its_predecessor_did_not(
    fleet: Fleet, announcer: Announcer, make_odoo: MakeOdoo
) -> None:
    odoo = await make_odoo(hangs)
    await lose(fleet, odoo.base_url, calls=2)
    before = await fleet.registry.rescues.cursor()
    await announcer.step()
    await eventually(lambda: len(odoo.messages) == 1)
    await announcer.stop()
    assert await fleet.registry.rescues.cursor() != await fleet.registry.outbox.last_event_id()
    assert before is not None
    odoo.answer = all_are("moved")
    await until_done(fleet, announcer)
    assert await totals(fleet) == {"moved": 2}


async def test_who_has_lost_the_lease_moves_no_cursor(
    fleet: Fleet, announcer: Announcer, make_odoo: MakeOdoo
) -> None:
    odoo = await make_odoo(all_are("moved"))
    await fleet.client.set(fleet.keys.sweeper, "another")
    await lose(fleet, odoo.base_url)

    async def notices() -> bool:
        return not await announcer.step()

    await eventually(notices)
    assert await fleet.registry.rescues.cursor() == "0-0"


async def test_a_call_that_moves_while_its_odoo_is_away_is_not_told(
    fleet: Fleet, announcer: Announcer, make_odoo: MakeOdoo
) -> None:
    odoo = await make_odoo(status(503))
    await lose(fleet, odoo.base_url, calls=2)
    await announcer.step()
    await eventually(lambda: len(odoo.messages) == 1)
    await fleet.place(f"{odoo.base_url}:channel:0", uuid="moved by a join")
    odoo.answer = all_are("moved")
    await until_done(fleet, announcer)
    assert odoo.messages[-1]["uuids"] == [f"{odoo.base_url[-5:]}-1"]


async def test_a_drain_moves_calls_and_shows_how_far_it_is(
    fleet: Fleet, announcer: Announcer, make_odoo: MakeOdoo
) -> None:
    async def places_anew(claims: dict[str, Any]) -> web.Response:
        results = {}
        for uuid in claims["uuids"]:
            number = uuid.rpartition("-")[2]
            placement = await fleet.place(f"{odoo.base_url}:channel:{number}", uuid=f"new {number}")
            results[uuid] = "moved" if placement.address == B and number != "0" else "kept"
        return web.json_response({"results": results})

    odoo = await make_odoo(places_anew)
    await fleet.beat(A)
    for number in range(3):
        await fleet.place(f"{odoo.base_url}:channel:{number}", uuid=f"old-{number}")
    await fleet.beat(B)
    await fleet.registry.fleet.drain(A, move=True)
    await until_done(fleet, announcer)
    assert [message["reason"] for message in odoo.messages] == ["drain"]
    sfu = await fleet.registry.fleet.describe(A)
    assert (sfu.moves, sfu.moves_left, sfu.moved, sfu.kept, sfu.move_failed) == (3, 0, 2, 1, 0)


async def test_calls_of_an_odoo_that_is_not_allowed_are_not_told(
    fleet: Fleet, announcer: Announcer, make_odoo: MakeOdoo
) -> None:
    await lose(fleet, "https://odoo.example.com")
    await until_done(fleet, announcer)
    assert await totals(fleet) == {}


async def test_a_message_that_is_under_way_ends_with_the_sweeper(
    fleet: Fleet, announcer: Announcer, make_odoo: MakeOdoo
) -> None:
    odoo = await make_odoo(hangs)
    await lose(fleet, odoo.base_url)
    await announcer.step()
    await eventually(lambda: odoo.at_once == 1)
    async with asyncio.timeout(1):
        await announcer.stop()
