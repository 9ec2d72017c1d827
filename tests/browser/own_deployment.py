"""For tests that stop a process, or count what a gateway has seen since its start."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.deployment import Deployment, Replica
from tests.support.engines import RedisServer


class OwnDeployment:
    """Each test has a deployment of its own, by the fixture `settings`."""

    @pytest.fixture
    def deployment(
        self, own_server: RedisServer, settings: dict[str, str], tmp_path: Path
    ) -> Iterator[Deployment]:
        """A deployment with a sweeper."""
        with Deployment(own_server, tmp_path, **settings) as running:
            running.sweeper()
            yield running

    @pytest.fixture
    def replica(self, deployment: Deployment) -> Replica:
        """A gateway."""
        return deployment.replica()
