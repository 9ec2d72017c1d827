"""One browser for all tests, with a context for each visit; a deployment for each file, SFUs for each test.

A test that stops a process has a deployment of its own. Without Chromium: skip at home, fail in CI.
A browser lives in one event loop, so these tests share theirs.
"""

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser.chromium import Opener, Visit, chromium, find_chromium, visit
from tests.journeys.deployment import Deployment, Replica, RunningFleet
from tests.support.engines import RedisServer
from tests.support.tools import miss
from tests.support.waiting import eventually_sync

_HOST_NUMBERS: Final = itertools.count(2)


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """SFUs report each second and are down after 3 s, breakers open after 2 failures."""
    return {"health__unhealthy_threshold": "3", "breaker__failure_threshold": "2"}


@pytest.fixture(scope="module")
def deployment(
    server: RedisServer, settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A deployment with a sweeper."""
    with Deployment(server, tmp_path_factory.mktemp("deployment"), **settings) as running:
        running.sweeper()
        yield running


@pytest.fixture(scope="module")
def running_replica(deployment: Deployment) -> Replica:
    """The gateway of the deployment."""
    return deployment.replica()


@pytest.fixture
def replica(running_replica: Replica) -> Iterator[Replica]:
    """A gateway that has no SFU when a test begins."""
    yield running_replica
    running_replica.forget_sfus()
    eventually_sync(lambda: running_replica.health()["sfus"] == [])


@contextmanager
def running_fleet(deployment: Deployment, replica: Replica, sfus: int) -> Iterator[RunningFleet]:
    """Run SFUs in two regions, at addresses that no other test uses: the gateway remembers their events."""
    host = f"127.0.0.{next(_HOST_NUMBERS)}"
    running = deployment.fleet(sfus, [replica], "--regions", "eu-west,us-east", "--host", host)
    eventually_sync(lambda: replica.selectable() == sfus)
    yield running
    running.process.terminate()


@pytest.fixture
def fleet(deployment: Deployment, replica: Replica) -> Iterator[RunningFleet]:
    """Four SFUs in two regions."""
    with running_fleet(deployment, replica, 4) as running:
        yield running


@pytest.fixture
def one_sfu(deployment: Deployment, replica: Replica) -> Iterator[RunningFleet]:
    """A fleet of one SFU."""
    with running_fleet(deployment, replica, 1) as running:
        yield running


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
