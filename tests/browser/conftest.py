"""A browser and a deployment for each test. Without Chromium: skip at home, fail in CI."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from tests.browser.chromium import Opener, Visit, chromium, find_chromium, visit
from tests.journeys.deployment import Deployment, Replica, RunningFleet
from tests.support.engines import RedisServer
from tests.support.tools import miss
from tests.support.waiting import eventually_sync


@pytest.fixture
def deployment(own_server: RedisServer, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment in which SFUs report each second, are down after 3 s, and breakers open after 2 failures."""
    with Deployment(
        own_server, tmp_path, health__unhealthy_threshold="3", breaker__failure_threshold="2"
    ) as running:
        yield running


@pytest.fixture
def replica(deployment: Deployment) -> Replica:
    """A gateway with a sweeper."""
    deployment.sweeper()
    return deployment.replica()


@pytest.fixture
def fleet(deployment: Deployment, replica: Replica) -> RunningFleet:
    """Four SFUs in two regions."""
    running = deployment.fleet(4, [replica], "--regions", "eu-west,us-east")
    eventually_sync(lambda: replica.selectable() == 4)
    return running


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    executable = find_chromium()
    if executable is None:
        miss("no chromium on PATH (Debian: apt-get install chromium)")
    async with chromium(executable) as running:
        yield running


@pytest.fixture
async def open_dashboard(browser: Browser, replica: Replica) -> AsyncIterator[Opener]:
    """Opens dashboards of the replica; in the end none of them may have a complaint left."""
    visits: list[Visit] = []
    async with AsyncExitStack() as stack:

        async def open_one(path: str = "/dashboard", **context: Any) -> Visit:
            opened = await stack.enter_async_context(visit(browser, replica.url, path, **context))
            visits.append(opened)
            return opened

        yield open_one
    assert [complaint for each in visits for complaint in each.complaints] == []
