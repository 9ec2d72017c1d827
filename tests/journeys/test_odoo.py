"""An unchanged Odoo of each version, with the gateway in place of an SFU of each kind."""

import base64
import contextlib
import hashlib
import hmac
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from app.crypto.tokens import Key
from tests.journeys.deployment import GATEWAY_KEY, Deployment, Replica, RunningFleet
from tests.journeys.odoo import (
    BASE_URL,
    CHANNEL_KEY,
    KEY_SEED,
    RECORDING_ADDRESS,
    TIMEOUT_SECONDS,
    VERSIONS,
    Odoo,
    Passage,
    Passed,
    Version,
    passage,
)
from tests.support.engines import RedisServer, any_binary
from tests.support.waiting import eventually_sync
from workers.simulator.tokens import claims_of

PUBLIC_URL = "https://sfu1.example.com"

dialects = pytest.mark.parametrize("dialect", ["odoo", "strict"])


@contextlib.contextmanager
def tapped_sfu(
    deployment: Deployment, replica: Replica, *options: str, public_url: str = PUBLIC_URL
) -> Iterator[tuple[Passage, RunningFleet]]:
    """Run one SFU, register it with a wire tap before it, and give both."""
    fleet = deployment.fleet(1, [], *options)
    (sfu,) = fleet.sfus
    with passage(lambda _: str(sfu["address"])) as tap:
        assert replica.heartbeat(tap.url, str(sfu["key"]), publicUrl=public_url).is_success
        yield tap, fleet


def key_for_browsers(version: Version) -> dict[str, str]:
    """The claims about the channel's key that an SFU must get, by what that version's browsers sign with."""
    seed = base64.b64decode(KEY_SEED)
    derived = hmac.digest(base64.b64decode(GATEWAY_KEY), seed, hashlib.sha256)
    return {
        "17.0": {},
        "18.0": {"key": CHANNEL_KEY},
        "19.0": {"key": CHANNEL_KEY},
        "master": {"key": CHANNEL_KEY},
        "keySeed": {"key": base64.b64encode(derived).decode()},
    }[version.name]


def check_arrived(asked: Passed, version: Version, key: Key, channel: int) -> None:
    """Hold what came to the SFU against what that version's call needs."""
    assert (asked.method, asked.path) == ("GET", "/v1/channel")
    assert re.fullmatch(r"Bearer [\w-]+\.[\w-]+\.[\w-]+", asked.headers["authorization"])
    claims: dict[str, Any] = claims_of(asked.token, key, "strict", now=time.time())
    assert 360 < claims.pop("exp") - time.time() <= 390  # longer than any difference of clocks that registers
    assert claims == {"iss": f"{BASE_URL}:channel:{channel}", **key_for_browsers(version)}
    forwarded = {name: value for name, value in asked.headers.items() if name.startswith("x-forwarded-")}
    host = PUBLIC_URL.removeprefix("https://")
    assert forwarded == {
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-host": host,
        "x-forwarded-proto": "https",
    }
    has_recording = version.name in ("master", "keySeed")
    assert asked.query == ({"recordingAddress": RECORDING_ADDRESS} if has_recording else {})


@dialects
def test_every_version_gets_a_channel_and_the_sfu_all_it_needs(deployment: Deployment, dialect: str) -> None:
    replica = deployment.replica()
    with tapped_sfu(deployment, replica, "--dialect", dialect) as (tap, fleet):
        key = Key.from_base64(str(fleet.sfus[0]["key"]))
        for channel, version in enumerate(VERSIONS):
            stored = Odoo(version, replica.url, GATEWAY_KEY).join(channel)
            assert stored is not None, version
            assert stored.url == PUBLIC_URL
            asked = [each for each in tap.passed if each.path != "/v1/stats"]  # which is asked for once
            check_arrived(asked[-1], version, key, channel)
        assert fleet.state(fleet.addresses[0])["channels"] == len(VERSIONS)


@dialects
def test_an_sfu_without_a_gateway_believes_this_odoo_too(deployment: Deployment, dialect: str) -> None:
    """So what the other tests show is not a mistake that the fake Odoo shares with the gateway."""
    (sfu,) = deployment.fleet(1, [], "--dialect", dialect).sfus
    joined = [Odoo(version, str(sfu["address"]), str(sfu["key"])).join() for version in VERSIONS]
    assert {stored.url for stored in joined if stored} == {sfu["address"]}
    assert None not in joined


@dialects
def test_the_next_call_of_a_discussion_gets_the_same_channel(deployment: Deployment, dialect: str) -> None:
    replicas = [deployment.replica(), deployment.replica()]
    deployment.fleet(3, replicas[:1], "--dialect", dialect)
    eventually_sync(lambda: replicas[1].selectable() == 3)
    by_version = {
        version.name: [
            Odoo(version, replicas[number % 2].url, GATEWAY_KEY).join(channel) for number in range(4)
        ]
        for channel, version in enumerate(VERSIONS)
    }
    assert {name: len(set(joined)) for name, joined in by_version.items()} == dict.fromkeys(by_version, 1)
    assert len({stored for joined in by_version.values() for stored in joined}) == len(VERSIONS)
    assert None not in {stored for joined in by_version.values() for stored in joined}


def test_a_region_in_the_path_of_its_setting_is_followed(deployment: Deployment) -> None:
    replica = deployment.replica()
    fleet = deployment.fleet(4, [replica], "--regions", "eu-west,us-east")
    eventually_sync(lambda: replica.selectable() == 4)
    americans = {sfu["address"] for sfu in fleet.sfus if sfu["region"] == "us-east"}
    for version in VERSIONS:
        stored = Odoo(version, f"{replica.url}/r/us-east", GATEWAY_KEY).join()
        assert stored is not None
        assert stored.url in americans, version


# When there is no channel: any 2xx would crash `join`


def stays_peer_to_peer(replica: Replica) -> list[int]:
    """Join with every version, none of which gets a channel; the statuses."""
    statuses = []
    for channel, version in enumerate(VERSIONS):
        odoo, started = Odoo(version, replica.url, GATEWAY_KEY), time.monotonic()
        assert odoo.join(channel) is None
        assert time.monotonic() - started < TIMEOUT_SECONDS, version
        statuses += odoo.statuses
    return statuses


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Replica, RunningFleet]]:
    """A replica and three SFUs, for one fault after the other."""
    directory = tmp_path_factory.mktemp("breakable")
    with RedisServer(any_binary(), directory) as server, Deployment(server, directory) as deployment:
        replica = deployment.replica()
        yield replica, deployment.fleet(3, [replica])


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "hang"},
        {"fault": "drip"},
        {"fault": "garbage"},
        {"fault": "no-uuid"},
        {"fault": "status", "status": 500},
        {"fault": "status", "status": 204},
        {"fault": "redirect"},
    ],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
def test_a_broken_fleet_leaves_the_call_between_browsers_in_time(
    breakable: tuple[Replica, RunningFleet], fault: dict[str, object]
) -> None:
    replica, fleet = breakable
    eventually_sync(lambda: len(replica.health()["sfus"]) == 3)
    for address in fleet.addresses:
        assert replica.admin("reset", address=address).is_success
    eventually_sync(lambda: replica.selectable() == 3)
    for address in fleet.addresses:
        fleet.control(address, "fault", fault | {"route": "/v1/channel"})
    assert {status // 100 for status in stays_peer_to_peer(replica)} == {5}


def test_a_dead_fleet_leaves_the_call_between_browsers_in_time(deployment: Deployment) -> None:
    replica = deployment.replica()
    assert stays_peer_to_peer(replica) == [503] * len(VERSIONS), "no fleet yet"
    fleet = deployment.fleet(3, [replica])
    eventually_sync(lambda: replica.selectable() == 3)
    fleet.process.pause()
    assert stays_peer_to_peer(replica) == [503] * len(VERSIONS), "nobody answers"
    fleet.process.kill()
    assert stays_peer_to_peer(replica) == [503] * len(VERSIONS), "nobody listens"


def test_a_wrong_key_leaves_the_call_between_browsers(deployment: Deployment) -> None:
    replica = deployment.replica()
    odoo = Odoo(VERSIONS[0], replica.url, base64.b64encode(b"another key of thirty-two bytes.").decode())
    assert odoo.join() is None
    assert odoo.statuses == [401]


def test_this_odoo_crashes_on_a_2xx_without_uuid_as_the_real_one(deployment: Deployment) -> None:
    fleet = deployment.fleet(1, [])
    (address,) = fleet.addresses
    odoo = Odoo(VERSIONS[0], address, fleet.key_of(address))
    fleet.control(address, "fault", {"fault": "no-uuid"})
    with pytest.raises(KeyError):
        odoo.join()
    fleet.control(address, "fault", {"fault": "garbage"})
    with pytest.raises(ValueError, match=r"utf-8|Expecting"):
        odoo.join()


# Disconnect


@dialects
def test_a_disconnect_to_the_sfus_host_reaches_the_sfu_through_the_gateway(
    deployment: Deployment, dialect: str
) -> None:
    """The proxy before the SFU sends that one path to the gateway, as docs/odoo.md has it."""
    replica = deployment.replica(trust_proxy="1")
    crowd = ("--people", "40", "--join-seconds", "0.01", "--stay-seconds", "3600")
    sfu_url = ""

    def target(path: str) -> str:
        return replica.url if path == "/v1/disconnect" else sfu_url

    with (
        passage(target, is_proxy=True) as proxy,
        tapped_sfu(deployment, replica, *crowd, "--dialect", dialect, public_url=proxy.url) as (tap, fleet),
    ):
        (sfu_url,) = fleet.addresses
        odoo = Odoo(VERSIONS[1], replica.url, GATEWAY_KEY)
        stored = odoo.join()
        assert stored is not None
        assert stored.url == proxy.url
        joined = eventually_sync(lambda: settled_sessions(fleet))
        assert odoo.disconnect(stored, [1, 2, 3]) == 200
        assert fleet.state(sfu_url)["sessions"] == joined - 3
    told = tap.passed[-1]
    assert (told.method, told.path, told.headers["x-forwarded-for"]) == (
        "POST",
        "/v1/disconnect",
        "127.0.0.1",
    )
    claims = claims_of(told.token, Key.from_base64(str(fleet.sfus[0]["key"])), "strict", now=time.time())
    assert claims["sessionIdsByChannel"] == {stored.uuid: [1, 2, 3]}


def settled_sessions(fleet: RunningFleet) -> int:
    """How many people are in the only SFU's calls, 0 until three and more have come and nobody comes now."""
    before = int(fleet.state(fleet.addresses[0])["sessions"])
    time.sleep(0.05)  # five times as long as the crowd takes to join
    now = int(fleet.state(fleet.addresses[0])["sessions"])
    return now if before == now >= 3 else 0
