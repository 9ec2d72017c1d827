"""Work beside the requests: it ends with its block, whatever it is doing."""

import asyncio

import pytest

from app.background import in_background, repeated


async def test_the_work_ends_with_the_block() -> None:
    log = []

    async def work() -> None:
        try:
            log.append("started")
            await asyncio.sleep(60)
        finally:
            log.append("ended")

    async with in_background(work()):
        await asyncio.sleep(0)
        log.append("inside")
    assert log == ["started", "inside", "ended"]


async def test_work_that_swallows_a_cancellation_ends_all_the_same() -> None:
    swallowed = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            swallowed.append("one")  # as asyncio.wait_for did before Python 3.12
        await asyncio.sleep(60)

    async with in_background(work()), asyncio.timeout(5):
        await asyncio.sleep(0)
    assert swallowed == ["one"]


async def test_work_that_failed_says_so_at_the_end() -> None:
    async def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        async with in_background(work()):
            await asyncio.sleep(0.01)


async def test_work_that_is_done_is_left_alone() -> None:
    async def work() -> None:
        await asyncio.sleep(0)

    async with in_background(work()):
        await asyncio.sleep(0.01)


async def test_a_failure_of_the_work_is_logged_when_it_comes(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise ValueError("broken")

    async def run() -> None:
        async with in_background(work()):
            await asyncio.sleep(0.01)
            assert [record.getMessage() for record in caplog.records] == ["background_work_ended"]

    with pytest.raises(ValueError, match="broken"):
        await run()


async def test_repeated_work_goes_on_after_an_error_and_logs_those_that_are_not_excused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    errors: list[Exception | None] = [KeyError(), ValueError("broken"), None]
    done = asyncio.Event()

    async def work() -> None:
        error = errors.pop(0) if errors else None
        if error is not None:
            raise error
        done.set()

    async with in_background(repeated(work, lambda: 0, KeyError)):
        await asyncio.wait_for(done.wait(), 5)
    assert [record.getMessage() for record in caplog.records] == ["background_work_failed"]
