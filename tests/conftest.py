"""Fixtures of all tests: the engines, and clients of them.

Real engines start at most once per xdist worker and are wiped before each test. A test that kills, pauses or
reconfigures its server takes one of its own: `own_server`, or `redis_url` when the address is enough.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import hypothesis
import pytest
from redis.asyncio import Redis

from tests.support.engines import (
    Engine,
    EngineName,
    RedisServer,
    any_binary,
    fake_engine,
    real_engine,
    required_binary,
)
from tests.support.tools import is_ci

hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)


def pytest_configure() -> None:
    """In CI every run tries the same examples; at home each run tries others."""
    hypothesis.settings.load_profile("ci" if is_ci() else "dev")


_LONGEST_FIRST: Final = (
    "tests/journeys/",
    "tests/browser/",
    "tests/deploy/",
    "tests/test_wheel.py",
    "tests/workers/",
    "tests/lua/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: `scripts/test` hands out one file after the other.

    The short ones fill the gaps at the end, so that no worker is left alone with minutes of waiting.
    """
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    ranks = (rank for rank, place in enumerate(_LONGEST_FIRST) if item.nodeid.startswith(place))
    return next(ranks, len(_LONGEST_FIRST))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Redis, shared by the tests of one worker."""
    with RedisServer(required_binary("redis"), tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Valkey, shared by the tests of one worker."""
    with RedisServer(required_binary("valkey"), tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(params=["fakeredis", "redis", "valkey"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn, empty: for contract tests."""
    name: EngineName = request.param
    if name == "fakeredis":
        return fake_engine()
    server: RedisServer = request.getfixturevalue(f"{name}_server")
    server.wipe()
    return real_engine(name, server)


@pytest.fixture
async def redis(engine: Engine) -> AsyncIterator[Redis]:
    """A client of each engine in turn: text replies (`decode_responses=True`), redis-py's default RESP3."""
    async with engine.connect() as client:
        yield client


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A fresh server for one test, which may do anything to it: Redis, else Valkey."""
    with RedisServer(any_binary(), tmp_path) as server:
        yield server


@pytest.fixture
def redis_url(own_server: RedisServer) -> str:
    """The URL of a fresh server for one test: for journeys."""
    return own_server.url
