"""A rolling update as Kubernetes does it, rehearsed with real processes under load."""

import asyncio
from pathlib import Path
from typing import Final

import yaml

from app.server.uvicorn_server import GRACE_SECONDS
from tests.chaos.load import Load
from tests.deploy.repository import K8S
from tests.journeys.deployment import Deployment
from tests.support.engines import RedisServer
from tests.support.waiting import eventually

REPLICAS: Final = 3
RATE: Final = 60
UNNOTICED_SECONDS: Final = 0.5
"""How long clients go on asking a replica that was taken out: in a cluster, until every node has heard of it."""


async def test_replacing_every_replica_under_load_fails_no_request(
    own_server: RedisServer, tmp_path: Path
) -> None:
    with Deployment(own_server, tmp_path) as deployment:
        old = [await asyncio.to_thread(deployment.replica) for _ in range(REPLICAS)]
        await asyncio.to_thread(deployment.fleet, 5, old)
        await eventually(lambda: old[0].selectable() == 5, timeout_seconds=15)
        endpoints = [replica.url for replica in old]
        async with Load(endpoints, RATE).running() as load:
            for leaving in old:
                # maxSurge 1, maxUnavailable 0: the new one is ready before the old one is told.
                endpoints.append((await asyncio.to_thread(deployment.replica)).url)
                await asyncio.sleep(UNNOTICED_SECONDS)  # preStop: out of the Service, and still asked
                endpoints.remove(leaving.url)
                assert await asyncio.to_thread(leaving.process.terminate, GRACE_SECONDS) == 0
        failed = load.answers.failed
        assert failed == [], load.answers.statuses()
        assert len(load.answers.all) > REPLICAS * RATE * UNNOTICED_SECONDS


def test_the_grace_period_of_the_manifests_covers_the_rehearsal() -> None:
    documents = yaml.safe_load_all((K8S / "manifests" / "gateway.yaml").read_text())
    (pod,) = [item["spec"]["template"]["spec"] for item in documents if item and item["kind"] == "Deployment"]
    pre_stop = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pre_stop > UNNOTICED_SECONDS
    assert pod["terminationGracePeriodSeconds"] > pre_stop + GRACE_SECONDS
