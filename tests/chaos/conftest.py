"""Deployments that are about to suffer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.rows import Scale, scale, this_engine
from tests.journeys.deployment import Deployment, Replica, RunningFleet
from tests.support.redis_groups import RedisGroup, redis_group_of
from tests.support.waiting import eventually_sync

_ROOM = 1_000_000
"""Sessions that each SFU says it can hold: full rows make tens of thousands of channels and test something else."""


@pytest.fixture(name="scale")
def _scale() -> Scale:
    """How long rows run."""
    return scale()


@pytest.fixture
def redis_group(tmp_path: Path) -> Iterator[RedisGroup]:
    """A Redis of the test's own, of the kind that `SFU_CHAOS_ENGINE` asks for."""
    with redis_group_of(this_engine(), tmp_path) as running:
        yield running


@pytest.fixture
def deployment(redis_group: RedisGroup, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment on a Redis of its own; SFUs report every second and are down after 3 s."""
    with Deployment(
        redis_group.url, tmp_path, health__unhealthy_threshold="3", health__ping_interval_ms="1000"
    ) as running:
        yield running


def start(
    deployment: Deployment, *, replicas: int, sfus: int, options: tuple[str, ...] = ()
) -> tuple[list[Replica], RunningFleet]:
    """Start replicas, a sweeper and SFUs; return when every replica sees every SFU."""
    gateways = [deployment.replica() for _ in range(replicas)]
    deployment.sweeper()
    roomy = ("--max-sessions", str(_ROOM))
    fleet = deployment.fleet(sfus, gateways, "--ping-interval-ms", "1000", *roomy, *options)
    eventually_sync(lambda: all(gateway.selectable() == sfus for gateway in gateways), timeout_seconds=15)
    return gateways, fleet
