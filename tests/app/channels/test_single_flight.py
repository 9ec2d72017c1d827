"""One at a time per name."""

import asyncio
import gc
import weakref

import pytest

from app.channels.single_flight import SingleFlight
from app.errors import DeadlineExceeded


def soon(seconds: float = 5) -> float:
    """A time of the event loop that a test never reaches."""
    return asyncio.get_running_loop().time() + seconds


async def pass_through(gate: SingleFlight, name: str, log: list[str], label: str) -> None:
    async with gate.passing(name, until=soon()):
        log.append(f"{label} in")
        await asyncio.sleep(0)
        log.append(f"{label} out")


async def test_of_one_name_one_passes_after_the_other_in_order() -> None:
    gate, log = SingleFlight(), list[str]()
    await asyncio.gather(*(pass_through(gate, "x", log, str(number)) for number in range(3)))
    assert log == ["0 in", "0 out", "1 in", "1 out", "2 in", "2 out"]


async def test_other_names_do_not_wait() -> None:
    gate, log = SingleFlight(), list[str]()
    await asyncio.gather(pass_through(gate, "x", log, "x"), pass_through(gate, "y", log, "y"))
    assert log == ["x in", "y in", "x out", "y out"]


async def test_a_turn_can_let_others_pass_early_and_again() -> None:
    gate, log = SingleFlight(), list[str]()
    async with gate.passing("x", until=soon()) as turn:
        turn.let_others_pass()
        turn.let_others_pass()
        await pass_through(gate, "x", log, "other")
        log.append("first out")
    assert log == ["other in", "other out", "first out"]


async def test_whoever_waits_too_long_gives_up() -> None:
    gate = SingleFlight()
    async with gate.passing("x", until=soon()):
        with pytest.raises(DeadlineExceeded):
            async with gate.passing("x", until=soon(0.01)):
                pytest.fail("nobody may pass here")


async def test_an_open_gate_lets_pass_even_after_the_deadline() -> None:
    async with SingleFlight().passing("x", until=soon(-1)):
        pass


async def test_whoever_comes_while_the_gate_changes_hands_waits_no_longer_than_allowed() -> None:
    gate, log, is_over = SingleFlight(), list[str](), asyncio.Event()

    async def hold() -> None:
        async with gate.passing("x", until=soon()):
            log.append("next holds")
            await is_over.wait()

    async with gate.passing("x", until=soon()) as turn:
        next_one = asyncio.create_task(hold())
        await asyncio.sleep(0)
        turn.let_others_pass()  # the lock is open now, and promised to the next one
        with pytest.raises(DeadlineExceeded):
            async with gate.passing("x", until=soon(0.01)):
                pytest.fail("the next one comes first")
    assert log == ["next holds"]
    is_over.set()
    await next_one


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
async def test_an_error_inside_opens_the_gate(error: type[BaseException]) -> None:
    gate = SingleFlight()
    with pytest.raises(error):
        async with gate.passing("x", until=soon()):
            raise error
    async with gate.passing("x", until=soon(0.01)):
        pass


async def test_a_waiter_that_is_cancelled_holds_up_nobody() -> None:
    gate, log = SingleFlight(), list[str]()
    async with gate.passing("x", until=soon()):
        waiters = [asyncio.create_task(pass_through(gate, "x", log, str(number))) for number in range(2)]
        await asyncio.sleep(0)
        waiters[0].cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    assert log == ["1 in", "1 out"]


async def test_a_name_that_nobody_wants_is_forgotten() -> None:
    class Name:
        """An object that can tell when nobody refers to it any more."""

    gate, name = SingleFlight(), Name()
    remembered = weakref.ref(name)
    async with gate.passing(name, until=soon()):
        pass
    del name
    gc.collect()
    assert remembered() is None
