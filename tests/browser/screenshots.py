"""Takes the pictures of the dashboard in `docs/img/`: `scripts/screenshots`.

They show real processes: Redis, a gateway, a sweeper, simulated SFUs and a simulated Odoo. Some SFUs are made
to fail, so that every state is to be seen. It takes some minutes, most of them to have a history to show.
"""

import argparse
import asyncio
import contextlib
import itertools
import random
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from playwright.async_api import Browser

from tests.browser.chromium import Visit, chromium, find_chromium, visit
from tests.journeys.deployment import ADMIN_TOKEN, Deployment, Replica, RunningFleet
from tests.support.engines import RedisServer, any_binary
from tests.support.waiting import eventually_sync

IMAGES: Final = Path(__file__).parents[2] / "docs" / "img"
REGIONS: Final = "eu-west,us-east,ap-southeast,eu-central"
DESKTOP: Final = {"viewport": {"width": 1440, "height": 900}, "device_scale_factor": 2}
PHONE: Final = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2}


@contextlib.contextmanager
def scene(machines: int, *options: str) -> Iterator[tuple[Replica, RunningFleet]]:
    """Run a deployment with some machines of ten SFUs each."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with (
            RedisServer(any_binary(), directory) as server,
            Deployment(server, directory, health__unhealthy_threshold="12") as deployment,
        ):
            deployment.sweeper()
            replica = deployment.replica()
            fleets = [
                deployment.fleet(10, [replica], "--regions", REGIONS, *options) for _ in range(machines)
            ]
            eventually_sync(lambda: replica.selectable() == 10 * machines, timeout_seconds=60)
            yield replica, RunningFleet(fleets[0].process, [sfu for fleet in fleets for sfu in fleet.sfus])


@contextlib.asynccontextmanager
async def calls(replica: Replica, *, per_second: float) -> AsyncIterator[None]:
    """Ask for channels, each for a discussion of its own, while the block runs."""

    async def ask() -> None:
        for number in itertools.count():
            await asyncio.to_thread(replica.ask, f"https://odoo.example.com:channel:{number}")
            await asyncio.sleep(random.expovariate(per_second))

    task = asyncio.create_task(ask())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def trouble(replica: Replica, fleet: RunningFleet, *, groups: int) -> None:
    """Bring `groups` times four SFUs into four kinds of trouble."""
    victims = iter(fleet.addresses)
    for _ in range(groups):
        fleet.control(next(victims), "heartbeats", {"silent": True})
        fault = {"fault": "status", "status": 500, "route": "/v1/channel"}
        fleet.control(next(victims), "fault", fault)
        replica.admin("drain", address=next(victims), deadlineMs=3_600_000)
        figures = {"channels": 41, "sessions": 190, "cpuUsage": 0.97, "memoryUsage": 0.71}
        fleet.control(next(victims), "figures", figures)


async def _picture(seen: Visit, name: str) -> None:
    await seen.page.wait_for_timeout(1_500)
    await seen.page.screenshot(path=IMAGES / f"dashboard-{name}.png")


async def small_fleet(browser: Browser, seconds: float) -> None:
    """Take pictures of a fleet that one screen holds."""
    people = ("--people", "6", "--join-seconds", "12", "--stay-seconds", "120", "--max-sessions", "200")
    with scene(1, *people) as (replica, fleet):
        async with calls(replica, per_second=1.6):
            await asyncio.sleep(seconds / 2)
            trouble(replica, fleet, groups=1)
            await asyncio.sleep(seconds / 2)
            busy = fleet.addresses[5]
            async with visit(browser, replica.url, "/dashboard", **DESKTOP, color_scheme="light") as seen:
                await _picture(seen, "desktop")
                await seen.page.fill("#explain-form [name=region]", "us-east")
                await seen.page.click("#explain-form button")
                await seen.confirm(ADMIN_TOKEN)
                await _picture(seen, "explain")
            async with visit(browser, replica.url, "/dashboard", **DESKTOP, color_scheme="dark") as seen:
                await seen.row(busy).click()
                await _picture(seen, "dark")
            async with visit(browser, replica.url, "/dashboard", **PHONE, color_scheme="light") as seen:
                await _picture(seen, "phone")


async def large_fleet(browser: Browser) -> None:
    """Take a picture of 200 SFUs."""
    dice = random.Random(200)
    with scene(20, "--max-sessions", "200") as (replica, fleet):
        for address in fleet.addresses:
            busy = dice.betavariate(4, 5)
            figures = {"channels": int(busy * 40), "sessions": int(busy * 200)}
            fleet.control(
                address, "figures", figures | {"cpuUsage": busy * 0.8, "memoryUsage": 0.2 + busy / 3}
            )
        trouble(replica, fleet, groups=3)
        async with calls(replica, per_second=20):
            await asyncio.sleep(40)
            async with visit(browser, replica.url, "/dashboard", **DESKTOP, color_scheme="light") as seen:
                await _picture(seen, "200-sfus")


async def main() -> None:
    """Take all pictures, or those of one fleet."""
    parser = argparse.ArgumentParser(prog="scripts/screenshots", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="of history (default: %(default)s)")
    parser.add_argument("--only", choices=["small", "large"], help="default: both fleets")
    options = parser.parse_args()
    executable = find_chromium()
    if executable is None:
        parser.error("no chromium on PATH (Debian: apt-get install chromium)")
    IMAGES.mkdir(parents=True, exist_ok=True)
    async with chromium(executable) as browser:
        if options.only != "large":
            await small_fleet(browser, options.seconds)
        if options.only != "small":
            await large_fleet(browser)


if __name__ == "__main__":
    asyncio.run(main())
