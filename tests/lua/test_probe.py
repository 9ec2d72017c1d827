"""probe.lua: what the answer to a recovery probe does to a breaker."""

import pytest

from app.registry.placements import Outcome
from tests.lua.fleet import KEY, A, B, Fleet


@pytest.fixture
async def opened(fleet: Fleet) -> Fleet:
    """A fleet of B and of A with an open breaker, due to be probed."""
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A, times=5)
    fleet.wait(29_999)
    await fleet.beat(A)
    await fleet.beat(B)
    fleet.wait(1)
    return fleet


async def test_an_answer_makes_the_breaker_half_open(opened: Fleet) -> None:
    assert await opened.registry.probe(A, answered=True) == "half-open"
    assert await opened.standing(A) == "selectable"
    assert await opened.listed() == {A, B}
    assert await opened.registry.claim_probes(1_000) == []


async def test_silence_opens_it_for_longer(opened: Fleet) -> None:
    opened.draw = 0.5
    assert await opened.registry.probe(A, answered=False) == "open"
    assert (await opened.registry.describe(A)).open_for_ms == 66_000
    assert await opened.listed() == {B}
    assert await opened.events(A) == ["up registered", "down failed", "breaker-open failures", "up recovered"]


@pytest.mark.parametrize("outcome", ["failed", "misconfigured"])
async def test_an_answer_ends_a_mark_that_no_report_has_ended(fleet: Fleet, outcome: Outcome) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A, outcome, times=5)
    await fleet.beat(A, is_fresh=False)
    assert await fleet.standing(A) == outcome
    await fleet.registry.probe(A, answered=True)
    assert await fleet.standing(A) == "selectable"
    assert (await fleet.events(A))[-1] == "up recovered"


async def test_a_recovered_sfu_goes_on_draining(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.registry.drain(A)
    await fleet.fail(A, times=5)
    await fleet.registry.probe(A, answered=True)
    assert await fleet.standing(A) == "draining"
    assert (await fleet.events(A))[-1] == "draining recovered"


async def test_a_breaker_that_is_not_open_stays_as_it_is(fleet: Fleet) -> None:
    await fleet.beat()
    for answered in (False, True):
        assert await fleet.registry.probe(A, answered=answered) == "closed"


async def test_an_sfu_that_has_gone_is_not_probed_again(opened: Fleet) -> None:
    await opened.registry.sign_off(A, KEY)
    assert await opened.registry.claim_probes(0) == [A]
    assert await opened.registry.probe(A, answered=True) == "gone"
    assert await opened.registry.claim_probes(0) == []
