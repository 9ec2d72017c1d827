"""record_probe.lua: what the answer to a probe does to an ejected SFU."""

import pytest

from app.registry.placements import Outcome
from tests.lua.fleet import KEY, A, B, Fleet


@pytest.fixture
async def ejected(fleet: Fleet) -> Fleet:
    """A fleet of B and of A, which is ejected and due to be probed."""
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A, times=5)
    fleet.wait(28_000)
    await fleet.beat(A)
    await fleet.beat(B)
    return fleet


async def test_an_answer_makes_it_half_open(ejected: Fleet) -> None:
    assert await ejected.registry.sweeps.probe(A, answered=True) == "half-open"
    assert await ejected.listed() == {A, B}
    assert await ejected.registry.sweeps.claim_probes(1_000) == []
    assert (await ejected.registry.fleet.describe(A)).breaker == "half-open"


async def test_silence_ejects_it_for_longer(ejected: Fleet) -> None:
    ejected.draw = 0.5
    assert await ejected.registry.sweeps.probe(A, answered=False) == "ejected"
    status = await ejected.registry.fleet.describe(A)
    assert (status.ejected_for_ms, status.ejections, status.breaker) == (66_000, 2, "open")
    assert await ejected.listed() == {B}
    assert await ejected.events(A) == ["up registered", "down failed", "breaker-open failed"]


@pytest.mark.parametrize("outcome", ["failed", "misconfigured"])
async def test_an_answer_ends_an_ejection_that_no_report_has_ended(fleet: Fleet, outcome: Outcome) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A, outcome, times=5)
    await fleet.beat(A, is_fresh=False)
    assert await fleet.state(A) == "ejected"
    await fleet.registry.sweeps.probe(A, answered=True)
    assert await fleet.state(A) == "half-open"
    assert (await fleet.events(A))[-1] == "up recovered"


async def test_a_draining_sfu_goes_on_draining(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=1)
    await fleet.beat(B)
    await fleet.registry.fleet.drain(A)
    await fleet.fail(A, times=5)
    assert await fleet.registry.sweeps.probe(A, answered=True) == "draining"
    assert (await fleet.events(A))[-2:] == ["draining operator", "breaker-open failed"]


async def test_a_probe_never_undrains_an_sfu_that_drains_itself(fleet: Fleet) -> None:
    await fleet.beat(A, sessions=1, is_draining=True)
    await fleet.fail(A, times=5)
    assert await fleet.registry.sweeps.probe(A, answered=True) == "draining"
    assert await fleet.listed() == set()


async def test_an_sfu_that_is_not_ejected_stays_as_it_is(fleet: Fleet) -> None:
    await fleet.beat()
    for answered in (False, True):
        assert await fleet.registry.sweeps.probe(A, answered=answered) == "selectable"


async def test_an_sfu_that_has_gone_is_not_probed_again(ejected: Fleet) -> None:
    await ejected.registry.registrations.sign_off(A, KEY)
    assert await ejected.registry.sweeps.claim_probes(0) == []
    assert await ejected.registry.sweeps.probe(A, answered=True) == "gone"
