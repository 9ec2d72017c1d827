"""Deployments that are about to suffer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.rows import Scale, scale
from tests.journeys.deployment import Deployment, Replica, RunningFleet
from tests.support.engines import RedisServer
from tests.support.waiting import eventually_sync


@pytest.fixture(name="scale")
def _scale() -> Scale:
    """How long rows run."""
    return scale()


@pytest.fixture
def deployment(own_server: RedisServer, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment on a Redis of its own; SFUs report every second and are down after 3 s."""
    with Deployment(
        own_server, tmp_path, health__unhealthy_threshold="3", health__ping_interval_ms="1000"
    ) as running:
        yield running


def start(
    deployment: Deployment, *, replicas: int, sfus: int, options: tuple[str, ...] = ()
) -> tuple[list[Replica], RunningFleet]:
    """Start replicas, a sweeper and SFUs; return when every replica sees every SFU."""
    gateways = [deployment.replica() for _ in range(replicas)]
    deployment.sweeper()
    fleet = deployment.fleet(sfus, gateways, "--ping-interval-ms", "1000", *options)
    eventually_sync(lambda: all(gateway.selectable() == sfus for gateway in gateways), timeout_seconds=15)
    return gateways, fleet
