"""node_describe: what people see of an SFU."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from app.errors import UnknownSfu
from tests.lua.fleet import KEY, OTHER_KEY, A, B, Fleet


async def test_a_living_sfu_with_the_terms_of_its_load(fleet: Fleet) -> None:
    await fleet.beat(A, channels=12, sessions=40, cpu=0.5, memory=0.25, public_url="https://a.example")
    await fleet.select()
    fleet.wait(1_200)
    status = await fleet.registry.fleet.describe(A)
    assert (status.address, status.region, status.state, status.status) == (A, "eu", "selectable", "up")
    assert (status.channels, status.sessions, status.max_sessions, status.reserved) == (12, 40, 1_000, 4)
    assert (status.heartbeat_age_ms, status.registered_at) == (1_200, fleet.now_ms - 1_200)
    assert (status.public_url, status.generation, status.breaker) == ("https://a.example", 1, "closed")
    terms = (status.sessions_term, status.cpu_term, status.memory_term)
    assert terms == pytest.approx((0.022, 0.15, 0.05))
    assert status.load == pytest.approx(sum(terms))


Deed = Callable[[Fleet], Awaitable[Any]]


@pytest.mark.parametrize(
    ("deed", "state"),
    [
        (lambda fleet: fleet.beat(A), "selectable"),
        (lambda fleet: fleet.beat(A, sessions=1_000), "full"),
        (lambda fleet: fleet.beat(A, cpu=1.0), "overloaded"),
        (lambda fleet: fleet.registry.fleet.drain(A), "draining"),
        (lambda fleet: fleet.fail(A), "ejected"),
        (lambda fleet: fleet.fail(A, "misconfigured"), "ejected"),
        (lambda fleet: fleet.registry.registrations.sign_off(A, KEY), "signed-off"),
    ],
)
async def test_why_an_sfu_takes_no_new_channel(fleet: Fleet, deed: Deed, state: str) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await deed(fleet)
    assert (await fleet.registry.fleet.describe(A)).state == state


async def test_the_breaker(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A, times=5)
    fleet.wait(10_000)
    status = await fleet.registry.fleet.describe(A)
    assert (status.breaker, status.failures, status.ejections, status.ejected_for_ms) == (
        "open",
        5,
        1,
        20_000,
    )
    assert (status.state, status.reason, status.status) == ("ejected", "failed", "failed")
    await fleet.registry.registrations.sign_off(A, KEY)
    assert (await fleet.registry.fleet.describe(A)).breaker == "closed"


async def test_a_silent_sfu_is_down_before_any_sweeper_says_so(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=3)
    fleet.wait(30_000)
    status = await fleet.registry.fleet.describe(A)
    assert (status.state, status.status, status.sessions) == ("expired", "down", 3)
    assert status.heartbeat_age_ms == 30_000


async def test_it_changes_nothing(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B, cpu=1.0)
    fleet.wait(30_000)

    before = await fleet.dump()
    await fleet.registry.fleet.sfus()
    assert await fleet.dump() == before


async def test_it_never_shows_a_key(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat(A)
    await fleet.beat(B, key=OTHER_KEY)
    await fleet.fail(A, "misconfigured")
    nodes = [await redis.hgetall(fleet.keys.node(address)) for address in (A, B)]
    await fleet.registry.registrations.sign_off(B, OTHER_KEY)
    shown = str(await fleet.registry.fleet.sfus()) + str(await redis.xrange(fleet.keys.events))
    for node in nodes:
        assert str(node["key"]) not in shown
        assert str(node["fingerprint"]) not in shown


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({"sessions": 1_000}, "sessions"),
        ({"cpu": 0.96}, "cpu"),
        ({"memory": 0.96}, "memory"),
        ({"sessions": 900, "cpu": 0.95, "memory": 0.95}, "load"),
    ],
)
async def test_an_overloaded_sfu_says_by_which_figure(
    fleet: Fleet, figures: dict[str, Any], reason: str
) -> None:
    await fleet.beat(A, **figures)
    assert (await fleet.registry.fleet.describe(A)).reason == reason


async def test_the_last_error_is_kept_with_its_time_and_count(fleet: Fleet) -> None:
    await fleet.beat(A)
    for number in range(2):
        await fleet.select(f"{number}")
        await fleet.report("unblamed", A, f"{number}", error="500\x1b[2J " + "x" * 300)
    status = await fleet.registry.fleet.describe(A)
    assert status.last_error.startswith("500 [2J xxx")
    assert len(status.last_error) == 200
    assert (status.last_error_at, status.errors, status.failures) == (fleet.now_ms, 2, 0)
    await fleet.place("good")
    assert (await fleet.registry.fleet.describe(A)).errors == 0


async def test_an_ejected_sfu_says_since_when(fleet: Fleet) -> None:
    await fleet.beat(A)
    ejected_at = fleet.now_ms
    await fleet.fail(A, "misconfigured")
    fleet.wait(2_000)
    status = await fleet.registry.fleet.describe(A)
    assert (status.ejected_since, status.at) == (ejected_at, ejected_at + 2_000)


async def test_every_sfu_is_listed_once_by_region_and_address(fleet: Fleet) -> None:
    for number in range(120):
        await fleet.beat(f"http://{number:03}.test", region=("us", "eu")[number % 2])
    listed = [(status.region, status.address) for status in await fleet.registry.fleet.sfus()]
    assert len(listed) == 120
    assert listed == sorted(set(listed))


async def test_nobody_knows_a_stranger(fleet: Fleet) -> None:
    with pytest.raises(UnknownSfu):
        await fleet.registry.fleet.describe(A)
