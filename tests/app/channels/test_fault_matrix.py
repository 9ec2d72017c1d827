"""Every fault of one SFU, wherever it stands: no call is refused that a healthy SFU would have taken."""

from dataclasses import replace
from typing import Final

import pytest

from app.channels.service import Placed
from app.crypto.tokens import Key
from app.errors import ChannelNotPlaced
from app.settings.model import FailoverSettings
from tests.app.channels.gateway import Gateway
from tests.support.waiting import eventually
from workers.simulator.faults import (
    Delay,
    Drip,
    Fault,
    Garbage,
    Hang,
    Huge,
    NoFault,
    NoUuid,
    Redirect,
    Refuse,
    Reset,
    Status,
    WrongClock,
    WrongKey,
)

BRISK: Final = FailoverSettings(deadline_ms=1_000)
"""The next SFU is asked after 0.5 s."""

STATUSES: Final = (
    *range(400, 418),
    421,
    422,
    423,
    424,
    425,
    426,
    428,
    429,
    431,
    451,
    *range(500, 509),
    510,
    511,
)
MISCONFIGURED: Final = (401, 403, 404, 405, 410, 421)
OTHERS: Final[dict[str, Fault]] = {
    "hangs": Hang(),
    "drips": Drip(bytes_per_second=1),
    "answers garbage": Garbage(),
    "answers without uuid": NoUuid(),
    "answers too much": Huge(size_bytes=1 << 20),
    "redirects": Redirect(),
    "resets": Reset(),
    "refuses connections": Refuse(),
    "has another key": WrongKey(),
    "has a wrong clock": WrongClock(seconds_ahead=3_600),
}
FAULTS: Final[dict[str, Fault]] = {
    **{f"answers {status}": Status(status=status, route="/v1/channel") for status in STATUSES},
    **OTHERS,
}

faults = pytest.mark.parametrize("name", FAULTS)


async def ask(gateway: Gateway, issuer: str = "issuer", region: str | None = None) -> Placed:
    """One request at a replica of its own."""
    return await gateway.replica(BRISK).create(replace(gateway.request(issuer), region=region))


def blamed(name: str) -> str:
    """What an SFU with this fault is, once another one has served its request."""
    return "misconfigured" if name in {f"answers {status}" for status in MISCONFIGURED} else "failed"


async def is_blamed(gateway: Gateway, name: str) -> None:
    """Return when the first SFU, and no other, is blamed: an attempt may end after the request."""

    async def is_so() -> bool:
        return await gateway.states() == [blamed(name), *["up"] * (len(gateway.sfus) - 1)]

    await eventually(is_so)


@faults
async def test_beside_healthy_sfus_it_is_blamed_and_they_serve(gateway: Gateway, name: str) -> None:
    await gateway.add(3)
    await gateway.sfus[0].set_fault(FAULTS[name])
    assert (await ask(gateway)).placement.address == gateway.sfus[1].address
    await is_blamed(gateway, name)
    tries = gateway.tries()[0]
    for number in range(3):
        await ask(gateway, f"issuer {number}")
    assert gateway.tries()[0] == tries


@faults
async def test_alone_in_its_region_it_is_blamed_and_another_region_serves(
    gateway: Gateway, name: str
) -> None:
    await gateway.add(1, region="us")
    await gateway.add(1)
    await gateway.sfus[0].set_fault(FAULTS[name])
    placed = await ask(gateway, "issuer", region="us")
    assert placed.placement.address == gateway.sfus[1].address
    await is_blamed(gateway, name)


@faults
async def test_with_a_running_call_it_loses_the_call_to_a_healthy_sfu(gateway: Gateway, name: str) -> None:
    await gateway.add(2)
    await ask(gateway)
    await gateway.sfus[0].set_fault(FAULTS[name])
    placed = await ask(gateway)
    assert placed.placement.address == gateway.sfus[1].address
    await is_blamed(gateway, name)
    assert (await ask(gateway)).channel == placed.channel


@faults
async def test_alone_it_is_asked_each_time_and_serves_as_soon_as_it_can(gateway: Gateway, name: str) -> None:
    [sfu] = await gateway.add(1)
    await sfu.set_fault(FAULTS[name])
    for number in range(2):
        with pytest.raises(ChannelNotPlaced):
            await ask(gateway, f"issuer {number}")
    assert await gateway.states() == ["failed" if name == "refuses connections" else "up"]
    assert await gateway.reserved() == [0]
    await sfu.set_fault(NoFault())
    assert (await ask(gateway)).placement.address == sfu.address


@faults
async def test_beside_drained_and_full_sfus_it_is_asked_each_time_and_serves_as_soon_as_it_can(
    gateway: Gateway, name: str
) -> None:
    faulty, drained, _full = await gateway.add(3)
    await gateway.fleet.registry.fleet.drain(drained.address)
    await gateway.fleet.beat(gateway.sfus[2].address, key=_key(2), sessions=1_000)
    await faulty.set_fault(FAULTS[name])
    for number in range(2):
        with pytest.raises(ChannelNotPlaced):
            await ask(gateway, f"issuer {number}")
    assert gateway.tries()[1:] == [0, 0]
    await faulty.set_fault(NoFault())
    assert (await ask(gateway)).placement.address == faulty.address


@faults
async def test_calls_on_drained_and_full_sfus_do_not_suffer_from_it(gateway: Gateway, name: str) -> None:
    await gateway.add(1)
    calls = [await ask(gateway, "issuer 0")]
    await gateway.fleet.registry.fleet.drain(gateway.sfus[0].address)
    await gateway.add(1)
    calls.append(await ask(gateway, "issuer 1"))
    await gateway.fleet.beat(gateway.sfus[1].address, key=_key(1), sessions=1_000)
    await gateway.add(1)
    await gateway.sfus[2].set_fault(FAULTS[name])
    for number, call in enumerate(calls):
        assert (await ask(gateway, f"issuer {number}")).channel == call.channel


@pytest.mark.parametrize("others", [0, 2])
async def test_a_slow_sfu_serves_its_calls_and_is_not_blamed(gateway: Gateway, others: int) -> None:
    await gateway.add(1 + others)
    call = await ask(gateway)
    await gateway.sfus[0].set_fault(Delay(ms=550))
    assert (await ask(gateway)).channel == call.channel
    await ask(gateway, "another issuer")
    assert await gateway.states() == ["up"] * (1 + others)


def _key(number: int) -> Key:
    return Key(f"the key of SFU {number}, known to nobody else".encode())
