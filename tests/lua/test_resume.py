"""set_drain.lua: a drain is taken back."""

import pytest

from app.errors import UnknownSfu
from tests.lua.fleet import A, B, Fleet


async def test_an_sfu_takes_channels_again_at_once(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.registry.fleet.drain(A)
    await fleet.registry.fleet.resume(A)
    await fleet.registry.fleet.resume(A)
    assert (await fleet.select()).address == A
    assert not (await fleet.beat()).is_draining
    assert await fleet.events() == ["up registered", "draining operator", "up resumed"]


async def test_the_next_drain_is_a_new_one(fleet: Fleet) -> None:
    await fleet.beat()
    for _ in range(2):
        await fleet.registry.fleet.drain(A, deadline_ms=60_000)
        await fleet.beat()
        await fleet.registry.fleet.resume(A)
    assert (await fleet.registry.fleet.describe(A)).drain_until == 0
    assert (await fleet.events()).count("drained empty") == 2


async def test_an_sfu_that_drains_itself_says_so_again(fleet: Fleet) -> None:
    await fleet.beat(A, is_draining=True)
    await fleet.registry.fleet.resume(A)
    assert await fleet.state() == "selectable"
    assert (await fleet.beat(A, is_draining=True)).is_draining


async def test_an_ejected_sfu_comes_back_undrained(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.registry.fleet.drain(A)
    await fleet.fail(A)
    await fleet.registry.fleet.resume(A)
    assert await fleet.state(A) == "ejected"
    await fleet.beat(A)
    assert await fleet.state(A) == "selectable"


async def test_an_unknown_sfu_cannot_be_resumed(fleet: Fleet) -> None:
    with pytest.raises(UnknownSfu):
        await fleet.registry.fleet.resume(A)


async def test_a_full_sfu_is_up_when_its_drain_ends(fleet: Fleet) -> None:
    await fleet.beat(B)
    await fleet.beat(A, sessions=6, max_sessions=6, is_draining=True)
    await fleet.beat(A, sessions=6, max_sessions=6)
    assert await fleet.state(A) == "full"
    await fleet.beat(A, sessions=6, max_sessions=6, is_draining=True)
    assert await fleet.events(A) == ["up registered", "draining sfu", "up resumed", "draining sfu"]
