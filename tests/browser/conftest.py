"""One browser for all tests, with a context for each visit, and a deployment for each test.

Without Chromium: skip at home, fail in CI. A browser lives in one event loop, so these tests share theirs.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

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


expect.set_options(timeout=15_000)  # by default 5 s, in which a busy machine may not have drawn a page


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this folder in the event loop of the browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="package"), append=False)


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    executable = find_chromium()
    if executable is None:
        miss("no chromium on PATH (Debian: apt-get install chromium)")
    async with chromium(executable) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="package")
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
