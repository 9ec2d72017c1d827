"""Deployments for journeys."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.deployment import Deployment
from tests.support.engines import RedisServer


@pytest.fixture
def deployment(own_server: RedisServer, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment on a Redis of its own, with the roadmap's threshold of 30 s."""
    with Deployment(own_server, tmp_path) as running:
        yield running


@pytest.fixture
def brisk(own_server: RedisServer, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment in which an SFU is down after 3 s of silence."""
    with Deployment(own_server, tmp_path, health__unhealthy_threshold="3") as running:
        yield running
