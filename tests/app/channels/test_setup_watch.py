"""SFUs that are not set up for a gateway are named in the log, once, and serve all the same."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from app.channels.setup_watch import AGAIN_SECONDS, SetupWatch
from app.upstream.addresses import AddressGuard
from app.upstream.client import Forwarder
from tests.support.logs import captured_logs
from tests.support.simulated import KEY, NO_PEOPLE, Clock, running_sfu, token
from tests.support.waiting import eventually
from workers.simulator.faults import Status
from workers.simulator.sfu import SfuConfig


@asynccontextmanager
async def watched(clock: Clock) -> AsyncIterator[tuple[SetupWatch, Forwarder]]:
    """A watch that hears of what a forwarder creates."""
    watch = SetupWatch(clock)
    async with Forwarder(AddressGuard(), on_created=watch.created) as forwarder:
        watch.forwarder = forwarder
        yield watch, forwarder
        await watch.close()


async def create(forwarder: Forwarder, address: str, public_url: str = "", client: str = "192.0.2.7") -> None:
    await forwarder.create_channel(
        address, token=token(), client=client, public_url=public_url, query="", timeout_s=3
    )


def logged(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


async def test_an_sfu_that_ignores_the_forwarded_address_is_named_once_an_hour() -> None:
    clock = Clock()
    async with watched(clock) as (watch, forwarder), running_sfu() as (sfu, _):
        with captured_logs() as text:
            await create(forwarder, sfu.address)
            await eventually(lambda: watch.ignoring_forwarded_for)
            await create(forwarder, sfu.address)
            await eventually(lambda: not watch._tasks)  # noqa: SLF001
        [line] = logged(text.getvalue())
        assert (line["event"], line["sfu"]) == ("forwarded_for_ignored", sfu.address)
        assert sfu.api.counts["/v1/stats"] == 1
        clock.now += AGAIN_SECONDS
        await create(forwarder, sfu.address, client="127.0.0.1")
        await eventually(lambda: not watch.ignoring_forwarded_for)


async def test_an_sfu_that_believes_it_is_not_complained_about() -> None:
    config = SfuConfig(key=KEY, people=NO_PEOPLE, proxy=True)
    async with watched(Clock()) as (watch, forwarder), running_sfu(config) as (sfu, _):
        with captured_logs() as text:
            await create(forwarder, sfu.address, "https://sfu.example.com", client="2001:DB8::1")
            await eventually(lambda: sfu.api.counts["/v1/stats"] and not watch._tasks)  # noqa: SLF001
        assert text.getvalue() == ""


async def test_an_sfu_that_calls_itself_otherwise_than_it_is_registered_is_named() -> None:
    async with watched(Clock()) as (watch, forwarder), running_sfu() as (sfu, _):
        with captured_logs() as text:
            await create(forwarder, sfu.address, "https://sfu.example.com")
            await eventually(lambda: watch.ignoring_forwarded_for)
        first, _ = logged(text.getvalue())
        assert first["event"] == "public_url_contradicted"
        assert (first["registered"], first["answered"]) == ("https://sfu.example.com", sfu.address)


async def test_an_sfu_without_statistics_is_not_complained_about() -> None:
    async with watched(Clock()) as (watch, forwarder), running_sfu() as (sfu, _):
        await sfu.set_fault(Status(status=404, route="/v1/stats"))
        with captured_logs() as text:
            await create(forwarder, sfu.address)
            await eventually(lambda: not watch._tasks)  # noqa: SLF001
        assert text.getvalue() == ""
