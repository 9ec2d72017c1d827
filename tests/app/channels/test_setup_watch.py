"""SFUs that are not set up for a gateway are named in the log and in the registry, and serve all the same."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest

from app.channels.setup_watch import AGAIN_SECONDS, SetupWatch
from app.errors import RegistryUnavailable
from app.registry.placements import Placement
from app.upstream.addresses import AddressGuard
from app.upstream.client import Channel, Forwarder
from tests.support.logs import captured_logs
from tests.support.simulated import KEY, NO_PEOPLE, Clock, running_sfu, token
from tests.support.waiting import eventually
from workers.simulator.faults import Status
from workers.simulator.sfu import SfuConfig

HTTPS_ISSUER = "https://odoo.example:channel:1"


class Watched:
    """A watch, the SFUs that it hears of, and what it has noted."""

    def __init__(self, forwarder: Forwarder, clock: Clock) -> None:
        self.forwarder = forwarder
        self.noted: list[tuple[str, int, list[str]]] = []
        self.is_away = False
        self.watch = SetupWatch(forwarder, self._note, clock=clock, wall_clock=lambda: 1_800_000_000.0)

    async def _note(self, address: str, generation: int, problems: Sequence[str]) -> None:
        if self.is_away:
            raise RegistryUnavailable("away")
        self.noted.append((address, generation, list(problems)))

    async def create(self, address: str, public_url: str = "", client: str = "192.0.2.7") -> None:
        """Have an SFU create a channel."""
        channel = await self.forwarder.create_channel(
            address, token=token(), client=client, public_url=public_url, query="", timeout_s=3
        )
        self.hear(address, Channel(channel.uuid, channel.url, channel.said_url), client=client)

    def hear(self, address: str, channel: Channel, *, client: str = "192.0.2.7", **placement: Any) -> None:
        """Tell the watch of a channel."""
        placed = Placement(address, "eu", "", "", "least-load", is_locked=True, uuid="", generation=3)
        self.watch.created(replace(placed, **placement), channel, client, HTTPS_ISSUER)

    async def looked(self, times: int) -> list[str]:
        """Return what the last of so many looks has noted."""
        await eventually(lambda: len(self.noted) == times)
        return self.noted[-1][2]


@asynccontextmanager
async def watching(clock: Clock | None = None) -> AsyncIterator[Watched]:
    async with Forwarder(AddressGuard()) as forwarder:
        watched = Watched(forwarder, clock or Clock())
        yield watched
        await watched.watch.close()


def logged(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


async def test_an_sfu_that_ignores_the_forwarded_address_is_named_once_and_looked_at_again_later() -> None:
    clock = Clock()
    async with watching(clock) as watched, running_sfu() as (sfu, _):
        with captured_logs() as text:
            await watched.create(sfu.address)
            assert await watched.looked(1) == ["forwarded_for_ignored"]
            await watched.create(sfu.address)
            clock.now += AGAIN_SECONDS
            await watched.create(sfu.address)
            assert await watched.looked(2) == ["forwarded_for_ignored"]
        [line] = logged(text.getvalue())
        assert (line["event"], line["sfu"]) == ("forwarded_for_ignored", sfu.address)
        assert sfu.api.counts["/v1/stats"] == 2
        clock.now += AGAIN_SECONDS
        await watched.create(sfu.address, client="127.0.0.1")
        assert await watched.looked(3) == []


async def test_an_sfu_that_believes_it_is_not_complained_about() -> None:
    config = SfuConfig(key=KEY, people=NO_PEOPLE, proxy=True)
    async with watching() as watched, running_sfu(config) as (sfu, _):
        with captured_logs() as text:
            await watched.create(sfu.address, "https://sfu.example.com", client="2001:DB8::1")
            assert await watched.looked(1) == []
        assert text.getvalue() == ""


async def test_an_sfu_that_calls_itself_otherwise_than_it_is_registered_is_named() -> None:
    async with watching() as watched, running_sfu() as (sfu, _):
        with captured_logs() as text:
            await watched.create(sfu.address, "https://sfu.example.com")
            assert await watched.looked(1) == ["forwarded_for_ignored", "public_url_contradicted"]
        line = next(line for line in logged(text.getvalue()) if line["event"] == "public_url_contradicted")
        assert line["answered"] == sfu.address


@pytest.mark.parametrize(
    ("url", "problems"),
    [
        ("http://198.51.100.7:8070", ["url_not_https"]),
        ("http://sfu.example.com", ["url_not_https"]),
        ("https://sfu.example.com", []),
        ("http://127.0.0.1:8070", []),
        ("http://localhost:8070", []),
        ("http://[::1]:8070", []),
    ],
)
async def test_a_url_that_the_browsers_of_an_https_odoo_refuse_is_named(
    url: str, problems: list[str]
) -> None:
    async with watching() as watched, running_sfu() as (sfu, _):
        watched.hear(sfu.address, Channel("uuid", url))
        assert await watched.looked(1) == problems


@pytest.mark.parametrize(("ahead_s", "problems"), [(3_600, ["clock_off"]), (-3_600, ["clock_off"]), (30, [])])
async def test_an_sfu_whose_clock_is_off_is_named(ahead_s: int, problems: list[str]) -> None:
    date = formatdate(1_800_000_000 + ahead_s, usegmt=True).encode()
    async with watching() as watched, running_sfu() as (sfu, _):
        watched.hear(sfu.address, Channel("uuid", "https://sfu.example.com", date=date))
        assert await watched.looked(1) == problems


async def test_an_sfu_that_has_registered_anew_is_looked_at_again() -> None:
    async with watching() as watched, running_sfu() as (sfu, _):
        for generation in (3, 3, 4):
            watched.hear(sfu.address, Channel("uuid", "https://sfu.example.com"), generation=generation)
        await watched.looked(2)
        assert {generation for _, generation, _ in watched.noted} == {3, 4}


async def test_an_sfu_without_statistics_is_not_complained_about() -> None:
    async with watching() as watched, running_sfu() as (sfu, _):
        await sfu.set_fault(Status(status=404, route="/v1/stats"))
        with captured_logs() as text:
            await watched.create(sfu.address)
            assert await watched.looked(1) == []
        assert text.getvalue() == ""


async def test_nothing_is_noted_while_redis_is_away() -> None:
    async with watching() as watched, running_sfu() as (sfu, _):
        watched.hear(sfu.address, Channel("uuid", "https://sfu.example.com"), is_local=True)
        assert sfu.api.counts["/v1/stats"] == 0
        watched.is_away = True
        watched.hear(sfu.address, Channel("uuid", "https://sfu.example.com"))
        await eventually(lambda: sfu.api.counts["/v1/stats"] == 1)
        assert watched.noted == []
