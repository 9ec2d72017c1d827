"""Several real processes on one real Redis: registration, placement, expiry, sign-off."""

import json
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from app.events.event import Event, unpack_event
from tests.journeys.deployment import GATEWAY_KEY, REGISTRATION_KEY, Deployment, Replica
from tests.support.engines import RedisServer
from tests.support.sfus import UNTROUBLED
from tests.support.waiting import eventually_sync

ADDRESS = "http://127.0.0.1:9"
KEY = "a2V5IG9mIG9uZSBTRlUsIG5vdCBvZiBhbnkgb3RoZXI="


@pytest.fixture(scope="module")
def running_replicas(
    server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Replica]]:
    """Four replicas, for the tests that stop none of them."""
    with Deployment(server, tmp_path_factory.mktemp("replicas")) as deployment:
        yield [deployment.replica() for _ in range(4)]


@pytest.fixture
def replicas(running_replicas: list[Replica]) -> Iterator[list[Replica]]:
    """Four replicas that have no SFU when a test begins."""
    yield running_replicas
    running_replicas[0].forget_sfus()
    eventually_sync(lambda: not any(replica.health()["sfus"] for replica in running_replicas))


@pytest.fixture
def fleets(replicas: list[Replica], server: RedisServer, tmp_path: Path) -> Iterator[Deployment]:
    """Starts SFUs; they end before the replicas forget them."""
    with Deployment(server, tmp_path) as running:
        yield running


class Listener:
    """Collects what is published on `sfu:events`."""

    def __init__(self, server: RedisServer) -> None:
        import redis

        self._client = redis.Redis(host="127.0.0.1", port=server.port)
        self._pubsub = self._client.pubsub()  # type: ignore[no-untyped-call]
        self._pubsub.subscribe("sfu:events")
        self._pubsub.get_message(timeout=5)
        self.events: list[Event] = []

    def drain(self) -> list[Event]:
        """Return everything published so far."""
        while (message := self._pubsub.get_message(timeout=0.01)) is not None:
            self.events.append(unpack_event(message["data"]))
        return self.events

    def of(self, kind: str, address: str) -> list[Event]:
        """Return what was published about one SFU."""
        return [event for event in self.drain() if (event["type"], event["address"]) == (kind, address)]

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self._pubsub.close()
        self._client.close()


def _all_of(listener: Listener, kind: str, addresses: Sequence[str]) -> list[Event]:
    """What was published about each of `addresses`, once there is something about every one."""
    published = [listener.of(kind, address) for address in addresses]
    return [event for events in published for event in events] if all(published) else []


def test_a_heartbeat_to_one_replica_is_seen_by_the_other_at_once(deployment: Deployment) -> None:
    first, second = deployment.replica(), deployment.replica()
    reply = first.heartbeat(ADDRESS, KEY)
    assert reply.json() == {"status": "ok", "nextPingMs": 10_000, "draining": False}
    (sfu,) = second.health()["sfus"]
    assert sfu.pop("heartbeatAgeMs") < 5_000
    assert sfu == {
        "address": ADDRESS,
        "region": "eu-west",
        "status": "up",
        "breaker": "closed",
        "load": 0.2235,
        "channels": 12,
        "sessions": 45,
        "maxSessions": 1000,
        "reserved": 0,
        "cpuUsage": 0.35,
        "memoryUsage": 0.48,
        **UNTROUBLED,
    }


def test_a_node_reads_well_in_redis_and_shows_no_secret(replicas: list[Replica], server: RedisServer) -> None:
    replicas[0].heartbeat(ADDRESS, KEY)
    words = server.call("HGETALL", f"{{sfu}}:node:{ADDRESS}")
    node = dict(zip(words[::2], words[1::2], strict=True)) if isinstance(words, list) else words
    assert node["region"] == "eu-west"
    assert (node["channels"], node["sessions"], node["cpu"], node["memory"]) == ("12", "45", "0.35", "0.48")
    assert server.call("ZSCORE", "{sfu}:load", ADDRESS) == 0.2235
    assert KEY not in str(node)
    assert 0 < int(server.call("TTL", f"{{sfu}}:node:{ADDRESS}")) <= 30 + 600  # and 600 s among the lost


def test_channels_go_to_registered_sfus_through_any_replica(
    replicas: list[Replica], fleets: Deployment
) -> None:
    fleet = fleets.fleet(3, replicas[:1])
    eventually_sync(lambda: replicas[1].selectable() == 3)
    urls = set()
    for number in range(9):
        answer = replicas[number % 2].ask(f"https://odoo.example:channel:{number}")
        assert answer.status_code == 200, answer.text
        assert set(answer.json()) == {"uuid", "url"}
        urls.add(answer.json()["url"])
    assert urls == set(fleet.addresses)


def test_one_issuer_keeps_its_channel_whichever_replica_it_asks(
    replicas: list[Replica], fleets: Deployment
) -> None:
    fleets.fleet(3, replicas[:1])
    eventually_sync(lambda: replicas[1].selectable() == 3)
    answers = [replicas[number % 2].ask().json() for number in range(6)]
    assert answers == [answers[0]] * 6


def test_a_hundred_simultaneous_requests_of_one_issuer_over_four_replicas_make_one_channel(
    replicas: list[Replica],
    fleets: Deployment,
) -> None:
    """R20. An SFU alone makes 9 to 16 channels of 20 simultaneous requests."""
    fleet = fleets.fleet(3, replicas[:1], "--creation-delay-ms", "20")
    eventually_sync(lambda: all(replica.selectable() == 3 for replica in replicas))
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda number: replicas[number % 4].ask(), range(100)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({(answer.json()["uuid"], answer.json()["url"]) for answer in answers}) == 1
    assert sum(fleet.state(address)["channels"] for address in fleet.addresses) == 1


def test_a_region_hint_is_followed_by_query_and_by_path(replicas: list[Replica], fleets: Deployment) -> None:
    replica = replicas[0]
    fleet = fleets.fleet(4, [replica], "--regions", "eu-west,us-east")
    eventually_sync(lambda: replica.selectable() == 4)
    region_of = {sfu["address"]: sfu["region"] for sfu in fleet.sfus}

    def region_for(path: str) -> str:
        answer = replica.ask(f"https://odoo.example:channel:{uuid.uuid4()}", path)
        return str(region_of[answer.json()["url"]])

    for path in ("/v1/channel?region=us-east", "/r/us-east/v1/channel"):
        assert {region_for(path) for _ in range(3)} == {"us-east"}
    # Which region a country means depends on the regions the replica has seen: it looks every second.
    eventually_sync(lambda: {region_for("/v1/channel?country=US") for _ in range(3)} == {"us-east"})
    assert replica.ask("https://odoo.example:channel:x", "/v1/channel?region=atlantis").status_code == 200


def test_a_silent_sfu_is_published_down_once_by_two_sweepers(
    brisk: Deployment, own_server: RedisServer
) -> None:
    replica = brisk.replica()
    brisk.sweeper(), brisk.sweeper()
    with Listener(own_server) as listener:
        fleet = brisk.fleet(3, [replica])
        eventually_sync(lambda: replica.selectable() == 3)
        silent = fleet.addresses[0]
        fleet.control(silent, "heartbeats", {"silent": True})
        eventually_sync(lambda: listener.of("down", silent), timeout_seconds=10)
        (late,) = brisk.fleet(1, [replica]).addresses
        eventually_sync(lambda: listener.of("up", late))  # events after it are published, too
        (down,) = listener.of("down", silent)
        (up,) = listener.of("up", silent)
        assert down["reason"] == "expired"
        assert down["generation"] == up["generation"]
        assert replica.status_of(silent) == "down"
        assert replica.selectable() == 3


def test_a_signed_off_sfu_is_gone_at_once(deployment: Deployment, own_server: RedisServer) -> None:
    replica = deployment.replica()
    deployment.sweeper()
    with Listener(own_server) as listener:
        fleet = deployment.fleet(2, [replica])
        eventually_sync(lambda: replica.selectable() == 2)
        assert fleet.process.terminate() == 0
        assert replica.selectable() == 0
        assert replica.ask().json()["code"] == "no_sfu"
        downs = eventually_sync(lambda: _all_of(listener, "down", fleet.addresses))
        assert [down["reason"] for down in downs] == ["signed-off", "signed-off"]


def test_an_address_belongs_to_its_key_while_the_sfu_lives(replicas: list[Replica]) -> None:
    replica = replicas[0]
    replica.heartbeat(ADDRESS, KEY)
    other = "b3RoZXIga2V5IG9mIHNvbWVib2R5IGVsc2UsIDMyIGI="
    assert replica.heartbeat(ADDRESS, other).status_code == 409
    assert replica.heartbeat(ADDRESS, other, status="down").status_code == 409
    assert replica.heartbeat(ADDRESS, KEY, status="down").status_code == 200
    assert replica.heartbeat(ADDRESS, other).status_code == 200


def test_a_drained_sfu_keeps_its_calls_and_gets_no_new_ones(
    replicas: list[Replica], fleets: Deployment
) -> None:
    replica = replicas[0]
    fleet = fleets.fleet(2, [replica])
    eventually_sync(lambda: replica.selectable() == 2)
    mine = replica.ask("https://odoo.example:channel:mine").json()
    drained = mine["url"]
    assert replica.admin("drain", address=drained).status_code == 200
    others = {replica.ask(f"https://odoo.example:channel:{number}").json()["url"] for number in range(6)}
    assert others == set(fleet.addresses) - {drained}
    assert replica.ask("https://odoo.example:channel:mine").json() == mine
    assert replica.admin("resume", address=drained).status_code == 200
    assert replica.selectable() == 2


def test_failing_sfus_are_left_for_the_next_best(replicas: list[Replica], fleets: Deployment) -> None:
    replica = replicas[0]
    fleet = fleets.fleet(3, [replica])
    eventually_sync(lambda: replica.selectable() == 3)
    fleet.control(fleet.addresses[0], "fault", {"fault": "status", "status": 500, "route": "/v1/channel"})
    answers = [replica.ask(f"https://odoo.example:channel:{number}") for number in range(8)]
    assert {answer.status_code for answer in answers} == {200}
    assert fleet.addresses[0] not in {answer.json()["url"] for answer in answers}


def test_no_secret_is_in_any_log(replicas: list[Replica], fleets: Deployment) -> None:
    replica = replicas[0]
    fleet = fleets.fleet(2, [replica])
    eventually_sync(lambda: replica.selectable() == 2)
    assert replica.ask().status_code == 200
    replica.client.get("/v1/channel", headers={"Authorization": "jwt not-a-token"})
    replica.heartbeat("http://127.0.0.1:9/path", KEY)
    output = replica.process.output
    assert '"status": 401' in output or '"status":401' in output
    secrets = [GATEWAY_KEY, REGISTRATION_KEY, KEY, "not-a-token", "eyJ", *(sfu["key"] for sfu in fleet.sfus)]
    assert [secret for secret in secrets if secret in output] == []


def test_a_static_sfu_is_placed_on_without_any_heartbeat(deployment: Deployment, tmp_path: Path) -> None:
    fleet = deployment.fleet(1, [])
    (sfu,) = fleet.sfus
    node = {"address": sfu["address"], "region": "eu-west", "key": sfu["key"]}
    replica = deployment.replica(nodes=json.dumps({"sfu": [node]}))
    assert replica.ask().json()["url"] == sfu["address"]


def test_sigterm_ends_a_replica_within_its_grace_period(deployment: Deployment) -> None:
    replica = deployment.replica()
    with httpx.stream("GET", f"{replica.url}/v1/events", timeout=5, trust_env=False) as stream:
        assert next(stream.iter_lines()) == ": connected"
        assert replica.process.terminate(grace_seconds=8) == 0
