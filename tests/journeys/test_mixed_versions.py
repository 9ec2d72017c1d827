"""Replicas of different versions on one Redis, as during a rolling upgrade.

The older layout is what is left without the fields that need not be there; the newer one has fields and keys
that this version has never heard of.
"""

from collections.abc import Callable
from typing import Final

import pytest

from app.registry.keys import NEWEST_SCHEMA, SCHEMA, Keys
from tests.journeys.deployment import Deployment, Replica
from tests.support.engines import RedisServer
from tests.support.processes import ProcessFailed
from tests.support.waiting import eventually_sync

KEYS: Final = Keys()
OPTIONAL: Final = ("base", "emptied_at", "permit_until", "public_url", "recent", "round_robin_seq", "tat")
"""Fields of a node that scripts have defaults for: a version that does not write them is no stranger."""


def _make_older(server: RedisServer, address: str) -> None:
    """Leave of an SFU and of the fleet what an older version would have written."""
    server.call("HDEL", KEYS.node(address), *OPTIONAL)
    server.call("HDEL", KEYS.fleet, "schema", "outbox_cursor", "read_at", "away_until", "away_ms")


def _make_newer(server: RedisServer, address: str) -> None:
    """Add to an SFU and to the fleet what a newer version of the same schema may."""
    server.call("HSET", KEYS.node(address), "of_tomorrow", "1.5", "gpus", "two")
    server.call("HSET", KEYS.fleet, "of_tomorrow", "x")
    server.call("SADD", f"{KEYS.prefix}tomorrow:eu-west", address)


@pytest.mark.parametrize("change", [_make_older, _make_newer], ids=["older", "newer"])
def test_two_versions_work_side_by_side(
    deployment: Deployment, own_server: RedisServer, change: Callable[[RedisServer, str], None]
) -> None:
    deployment.sweeper()
    replicas = deployment.replica(), deployment.replica()
    fleet = deployment.fleet(2, replicas)
    for replica in replicas:
        eventually_sync(lambda asked=replica: asked.selectable() == 2)  # type: ignore[misc]

    for number in range(6):
        for address in fleet.addresses:
            change(own_server, address)
        first, second = replicas[number % 2], replicas[1 - number % 2]
        _places_as_one(first, second, f"issuer-{number}")
        address = fleet.addresses[number % 2]
        assert first.heartbeat(address, fleet.key_of(address)).status_code == 200
        assert {sfu["status"] for sfu in second.health()["sfus"]} == {"up"}

    assert all(replica.process.is_running for replica in replicas)


def _places_as_one(first: Replica, second: Replica, issuer: str) -> None:
    """What one replica has placed, the other one finds."""
    placed, again = first.ask(issuer), second.ask(issuer)
    assert placed.status_code == again.status_code == 200
    assert placed.json()["uuid"] == again.json()["uuid"]


def test_fields_of_a_newer_version_survive_the_older_one(
    deployment: Deployment, own_server: RedisServer
) -> None:
    replica = deployment.replica()
    fleet = deployment.fleet(1, [replica])
    (address,) = fleet.addresses
    eventually_sync(lambda: replica.selectable() == 1)
    _make_newer(own_server, address)
    assert replica.heartbeat(address, fleet.key_of(address)).status_code == 200
    assert replica.ask().status_code == 200
    assert own_server.call("HGET", KEYS.node(address), "of_tomorrow") == "1.5"
    assert own_server.call("HGET", KEYS.fleet, "of_tomorrow") == "x"


def test_every_start_says_its_schema(deployment: Deployment, own_server: RedisServer) -> None:
    deployment.sweeper()
    assert own_server.call("HGET", KEYS.fleet, "schema") == str(SCHEMA)
    own_server.call("HDEL", KEYS.fleet, "schema")
    deployment.replica()
    assert own_server.call("HGET", KEYS.fleet, "schema") == str(SCHEMA)


@pytest.mark.parametrize("command", ["replica", "sweeper"])
def test_nobody_starts_on_a_newer_schema(
    deployment: Deployment, own_server: RedisServer, command: str
) -> None:
    own_server.call("HSET", KEYS.fleet, "schema", NEWEST_SCHEMA + 1)
    start = deployment.replica if command == "replica" else deployment.sweeper
    with pytest.raises(ProcessFailed) as failed:
        start()
    assert "ended with status 3 " in str(failed.value)
    assert f"has schema {NEWEST_SCHEMA + 1}, this version knows up to {NEWEST_SCHEMA}" in str(failed.value)


def test_a_replica_that_runs_goes_on_when_a_newer_schema_comes(
    deployment: Deployment, own_server: RedisServer
) -> None:
    replica = deployment.replica()
    deployment.fleet(1, [replica])
    eventually_sync(lambda: replica.selectable() == 1)
    own_server.call("HSET", KEYS.fleet, "schema", NEWEST_SCHEMA + 1)
    assert replica.ask().status_code == 200
    assert replica.process.is_running
