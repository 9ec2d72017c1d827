"""reset.lua: an operator ends an ejection."""

import pytest

from app.errors import UnknownSfu
from app.registry.placements import Outcome
from tests.lua.fleet import KEY, A, B, Fleet


@pytest.mark.parametrize(("outcome", "times"), [("failed", 1), ("failed", 5), ("misconfigured", 1)])
async def test_an_ejected_sfu_takes_new_channels_at_once(fleet: Fleet, outcome: Outcome, times: int) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A, outcome, times=times)
    assert await fleet.listed() == {B}
    await fleet.registry.fleet.reset(A)
    status = await fleet.registry.fleet.describe(A)
    assert (status.state, status.failures, status.ejections, status.errors) == ("selectable", 0, 0, 0)
    assert await fleet.listed() == {A, B}
    assert (await fleet.events(A))[-1] == "up recovered"
    assert await fleet.registry.sweeps.claim_probes(1_000) == []


async def test_the_breaker_is_closed_by_the_operator(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A, times=5)
    await fleet.registry.fleet.reset(A)
    assert (await fleet.events(A))[-2:] == ["breaker-closed operator", "up recovered"]


async def test_a_half_open_sfu_is_in_plain_service_again(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A, times=5)
    await fleet.registry.sweeps.probe(A, answered=True)
    assert await fleet.state(A) == "half-open"
    await fleet.registry.fleet.reset(A)
    assert await fleet.state(A) == "selectable"


async def test_the_next_ejection_is_as_long_as_the_first(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A, times=5)
    first = (await fleet.registry.fleet.describe(A)).ejected_for_ms
    await fleet.registry.fleet.reset(A)
    await fleet.fail(A, times=5)
    assert (await fleet.registry.fleet.describe(A)).ejected_for_ms == first


async def test_a_healthy_or_draining_sfu_stays_as_it_is(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=1)
    await fleet.beat(B, sessions=1)
    await fleet.registry.fleet.drain(B)
    for address, state in ((A, "selectable"), (B, "draining")):
        before = await fleet.events(address)
        await fleet.registry.fleet.reset(address)
        assert (await fleet.state(address), await fleet.events(address)) == (state, before)


async def test_an_sfu_that_is_unknown_or_down_is_refused(fleet: Fleet) -> None:
    with pytest.raises(UnknownSfu):
        await fleet.registry.fleet.reset(A)
    await fleet.beat(A)
    await fleet.registry.registrations.sign_off(A, KEY)
    with pytest.raises(UnknownSfu, match="not registered now"):
        await fleet.registry.fleet.reset(A)
