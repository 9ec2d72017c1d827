"""Fixtures of all tests: the engines, and clients of them.

Real engines start at most once per xdist worker and are wiped before each test. A test that kills, pauses or
reconfigures its server takes one of its own: `own_server`, or `redis_url` when the address is enough.
"""

import gc
from collections.abc import AsyncIterator, Generator, Iterator
from itertools import chain, zip_longest
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


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the collector of garbage from looking at what lives as long as the run: 5,900 tests, and what they import.

    It looked for a third of the time of tests that compute.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


_WAITING: Final = ("tests/browser/", "tests/journeys/", "tests/deploy/", "tests/workers/")
"""Tests that wait for processes more than they compute. Their files take longest, so they come early."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let files that wait and files that compute take turns: `scripts/test` hands out one file after the other.

    So the cores are busy from the beginning, and short files fill the gaps at the end.
    """
    waiting: dict[str, list[pytest.Item]] = {}
    computing: dict[str, list[pytest.Item]] = {}
    for item in sorted(items, key=_rank):
        files = waiting if item.nodeid.startswith(_WAITING) else computing
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    turns = chain.from_iterable(zip_longest(waiting.values(), computing.values()))
    items[:] = chain.from_iterable(file for file in turns if file)


def _rank(item: pytest.Item) -> int:
    return next((rank for rank, place in enumerate(_WAITING) if item.nodeid.startswith(place)), len(_WAITING))


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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A fresh server for the tests of one file: Redis, else Valkey."""
    with RedisServer(any_binary(), tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def redis_url(own_server: RedisServer) -> str:
    """The URL of a fresh server for one test: for journeys."""
    return own_server.url
