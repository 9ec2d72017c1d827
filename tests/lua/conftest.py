"""Fleets on each engine in turn."""

from collections.abc import Callable
from functools import partial

import pytest
from redis.asyncio import Redis

from tests.lua.fleet import Fleet


@pytest.fixture
def make_fleet(redis: Redis) -> Callable[..., Fleet]:
    """Make fleets that share an engine: `make_fleet(choices=2)`."""
    return partial(Fleet, redis)


@pytest.fixture
def fleet(redis: Redis) -> Fleet:
    """A fleet by the default policy."""
    return Fleet(redis)
