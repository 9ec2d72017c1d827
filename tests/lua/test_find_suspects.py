"""find_suspects.lua and end_unreachable.lua: SFUs that are dead before their heartbeats say so."""

import dataclasses
from collections.abc import Callable

from tests.lua.fleet import A, B, Fleet

LATE_MS = 10_500


async def suspects(fleet: Fleet) -> list[str]:
    """Who may be dead."""
    return [suspect.address for suspect in await fleet.registry.rescues.find_suspects()]


async def test_an_sfu_is_a_suspect_once_its_heartbeat_is_late(fleet: Fleet) -> None:
    await fleet.beat(A)
    fleet.wait(LATE_MS - 1)
    await fleet.beat(B)
    assert await suspects(fleet) == []
    fleet.wait(1)
    assert await suspects(fleet) == [A]


async def test_an_sfu_is_a_suspect_after_a_failed_forward(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.fail(A)
    assert await suspects(fleet) == [A]
    await fleet.beat(A)
    assert await suspects(fleet) == []


async def test_an_unreachable_sfu_is_down_long_before_the_threshold(fleet: Fleet) -> None:
    await fleet.beat(A)
    fleet.wait(LATE_MS)
    [suspect] = await fleet.registry.rescues.find_suspects()
    assert await fleet.registry.rescues.end_unreachable(suspect) == "ended"
    assert await fleet.registry.rescues.end_unreachable(suspect) == "alive"
    assert (await fleet.events())[-1] == "down unreachable"
    assert (await fleet.events()).count("down unreachable") == 1
    assert await fleet.state() == "lost"


async def test_an_sfu_that_has_reported_meanwhile_is_alive(fleet: Fleet) -> None:
    await fleet.beat(A)
    fleet.wait(LATE_MS)
    [suspect] = await fleet.registry.rescues.find_suspects()
    await fleet.beat(A)
    assert await fleet.registry.rescues.end_unreachable(suspect) == "alive"
    assert await fleet.state() == "selectable"


async def test_another_registration_is_not_the_one_that_was_probed(fleet: Fleet) -> None:
    await fleet.beat(A)
    fleet.wait(LATE_MS)
    [suspect] = await fleet.registry.rescues.find_suspects()
    other = dataclasses.replace(suspect, generation=suspect.generation + 1)
    assert await fleet.registry.rescues.end_unreachable(other) == "alive"


async def test_while_most_of_the_fleet_is_late_nobody_is_a_suspect_or_ended(fleet: Fleet) -> None:
    for number in range(5):
        await fleet.beat(f"http://{number}.test")
    await fleet.fail("http://0.test")
    [suspect] = await fleet.registry.rescues.find_suspects()
    fleet.wait(LATE_MS)
    assert await suspects(fleet) == []
    assert await fleet.registry.rescues.end_unreachable(suspect) == "mass"


async def test_while_most_of_the_fleet_is_ejected_nobody_is_ended(fleet: Fleet) -> None:
    for number in range(5):
        await fleet.beat(f"http://{number}.test")
    for number in range(3):
        await fleet.fail(f"http://{number}.test")
    assert await suspects(fleet) == []


async def test_a_long_ejection_moves_the_calls_once(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(ejected_after_ms=20_000)
    await fleet.beat(A)
    await fleet.fail(A, times=5)
    fleet.wait(19_999)
    await fleet.beat(A)
    await fleet.registry.rescues.find_suspects()
    assert "moving ejected" not in await fleet.events()
    fleet.wait(1)
    for _ in range(2):
        await fleet.registry.rescues.find_suspects()
    assert (await fleet.events()).count("moving ejected") == 1
