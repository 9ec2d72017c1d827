"""The Redis user of docs/redis.md has the rights that the gateway needs, and no other."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
import redis
from pydantic import SecretStr
from redis.exceptions import NoPermissionError

from app.crypto.tokens import Key
from app.registry.client import close_client, connect
from app.registry.examination import Patient, unfitness
from app.registry.keys import Keys
from app.registry.placements import ConfirmedPlacement, ForwardOutcome, Outcome, Placement, PlacementRequest
from app.registry.registry import Registry
from app.registry.sfus import SfuReport
from app.registry.signs import read_signs
from app.settings.model import RedisSettings, Settings
from app.sweeper import Sweeper
from app.upstream.addresses import AddressGuard
from app.upstream.client import Forwarder
from tests.deploy.repository import ROOT
from tests.support.calls import call_id
from tests.support.engines import RedisServer, required_binary
from tests.support.topologies import cluster, sentinel_set

PASSWORD: Final = "of-the-tests"

BY_THE_CONNECTION: Final = {"client|setname", "hello", "select"}

NOT_FOR_THE_GATEWAY: Final = (
    ("FLUSHALL",),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("CONFIG", "GET", "*"),
    ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"),
    ("ACL", "LIST"),
    ("MONITOR",),
    ("SCRIPT", "FLUSH"),
    ("CLIENT", "KILL", "ID", "1"),
    ("SUBSCRIBE", "sfu:events"),
    ("GET", "somebody:else"),
    ("SET", "{other}:node:http://sfu:8070", "1"),
    ("PUBLISH", "other:events", "x"),
    ("EVAL", "return redis.call('GET', 'somebody:else')", "0"),
    ("EVAL", "return redis.call('FLUSHALL')", "0"),
)


def documented_rights(where: str = "acl") -> list[str]:
    """Return the words of a documented `ACL SETUSER`, the command's own name left out."""
    text = (ROOT / "docs" / "redis.md").read_text()
    block = re.search(rf"<!-- {where}: begin -->\s+```\n(.*?)```\s+<!-- {where}: end -->", text, re.DOTALL)
    assert block is not None
    return block[1].replace("PASSWORD", PASSWORD).split()[2:]


def permit(server: RedisServer, *rights: str) -> None:
    """Let the gateway's user log in on a server."""
    server.call("ACL", "SETUSER", *rights)
    with suppress(redis.ResponseError):  # a word that Redis 7.0 does not know
        server.call("ACL", "SETUSER", "gateway", "+client|setinfo")


@pytest.fixture(params=["redis", "valkey"])
def gateways_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    """Each server in turn, on which the documented user may log in."""
    with RedisServer(required_binary(request.param), tmp_path) as server:
        permit(server, *documented_rights())
        yield server


async def test_everything_that_the_gateway_does_is_permitted(gateways_server: RedisServer) -> None:
    await do_everything(f"redis://gateway:{PASSWORD}@{gateways_server.address}/0")
    assert denied_by(gateways_server) == []


async def test_on_a_cluster_too(tmp_path: Path) -> None:
    with cluster("redis", tmp_path) as nodes:
        servers = nodes.servers
        for server in servers:
            permit(server, *documented_rights())
            server.call("ACL", "SETUSER", *documented_rights("acl cluster"))
        await do_everything(nodes.url.replace("://", f"://gateway:{PASSWORD}@"))
        assert [entry for server in servers for entry in denied_by(server)] == []


async def test_behind_sentinels_too(tmp_path: Path) -> None:
    with sentinel_set("redis", tmp_path) as group:
        for server in group.servers:
            permit(server, *documented_rights())
        for sentinel in group.sentinels:
            permit(sentinel, *documented_rights("acl sentinel"))
        url = group.url.replace("://", f"://gateway:{PASSWORD}@")
        await do_everything(f"{url}?sentinel_username=gateway&sentinel_password={PASSWORD}")
        assert [entry for server in (*group.servers, *group.sentinels) for entry in denied_by(server)] == []


async def do_everything(url: str) -> None:
    """Call everything that gateway and sweeper call."""
    settings = Settings(key=(Key(b"k" * 32),), redis=RedisSettings(url=SecretStr(url), timeout_ms=10_000))
    client = connect(settings.redis)
    try:
        registry = Registry.from_settings(client, settings)
        good, bad = "http://good.test:8070", "http://bad.test:8070"
        for address in (good, bad):
            await registry.registrations.heartbeat(SfuReport(address, "eu-west", Key(b"s" * 32)))
        await _place_everywhere(registry, failing=bad)
        await _operate(registry, good)
        assert (await read_signs(Patient(client, registry, settings))).is_read
        await _sweep(registry)
        assert await registry.registrations.sign_off(bad, Key(b"s" * 32))
        await registry.fleet.forget(bad)
    finally:
        await close_client(client)


def denied_by(server: RedisServer) -> list[str]:
    """Return what a server has refused to its users."""
    entries = [dict(zip(entry[::2], entry[1::2], strict=True)) for entry in server.call("ACL", "LOG")]
    return [str(entry["object"]) for entry in entries]


async def _place_everywhere(registry: Registry, failing: str) -> None:
    for number in range(8):
        request = PlacementRequest(f"request-{number}", call_id(f"issuer-{number}"), max_placements=100)
        placed = await registry.select(request)
        assert isinstance(placed, Placement)
        outcome: Outcome = "failed" if placed.address == failing else "created"
        await registry.record_outcome(
            ForwardOutcome(request.id, request.call, placed, outcome, uuid=f"uuid-{number}")
        )
    placed = await registry.select(PlacementRequest("request-again", call_id("issuer-again")))
    assert isinstance(placed, Placement)
    assert registry.open_key(placed) == Key(b"s" * 32)
    assert await registry.channel_owner("uuid-7")
    assert (await registry.fleet.explain(PlacementRequest("explained", call_id("issuer-0")))).candidates
    call = ConfirmedPlacement(call_id("confirmed"), placed.address, "u", 0, id="offline")
    assert (await registry.confirm(call))[0].is_placed
    position, confirmed = await registry.recent_confirmations("", 10)
    assert confirmed
    assert await registry.recent_confirmations(position, 10) == (position, [])
    assert await registry.fleet.began_at()


async def _operate(registry: Registry, address: str) -> None:
    await registry.ping()
    await registry.fleet.drain(address, deadline_ms=1)
    await registry.fleet.resume(address)
    assert await registry.key_of(address) == Key(b"s" * 32)
    assert (await registry.fleet.describe(address)).address == address
    assert len(await registry.fleet.sfus()) == 2
    assert await registry.has_region("eu-west")
    assert (await registry.fleet.snapshot()).nodes
    assert await registry.outbox.last_event_id()
    await registry.fleet.drain(address, deadline_ms=1)


async def _sweep(registry: Registry) -> None:
    async with Forwarder(AddressGuard()) as forwarder:
        await Sweeper(registry, forwarder).tick()
    for address in await registry.sweeps.claim_probes(lease_ms=1_000):
        await registry.sweeps.probe(address, answered=False)
    assert await registry.outbox.cursor() == await registry.outbox.last_event_id()


async def test_a_diagnosis_does_not_ask_again_for_what_it_may_not_read(gateways_server: RedisServer) -> None:
    url = SecretStr(f"redis://gateway:{PASSWORD}@{gateways_server.address}/0")
    settings = Settings(redis=RedisSettings(url=url, timeout_ms=10_000))
    client, denied = connect(settings.redis), set[str]()
    try:
        patient = Patient(client, Registry.from_settings(client, settings), settings)
        assert await unfitness(patient, denied) == await unfitness(patient, denied) == []
    finally:
        await close_client(client)
    assert denied == {"version", "persistence", "eviction", "memory"}
    assert denied_by(gateways_server) == ["info"]


@pytest.mark.parametrize("words", NOT_FOR_THE_GATEWAY, ids=" ".join)
def test_everything_else_is_refused(gateways_server: RedisServer, words: tuple[str, ...]) -> None:
    url = f"redis://gateway:{PASSWORD}@{gateways_server.address}"
    with (
        redis.Redis.from_url(url) as client,
        pytest.raises((NoPermissionError, redis.ResponseError)) as refusal,
    ):
        client.execute_command(*words)
    assert re.search("no permissions|can't (access|run)", str(refusal.value), re.IGNORECASE)


def test_the_documented_commands_are_those_of_the_code() -> None:
    granted = {word.removeprefix("+") for word in documented_rights() if word.startswith("+")}
    texts = [path.read_text() for path in (ROOT / "lua").rglob("*.lua")]
    by_scripts = {name.lower() for text in texts for name in re.findall(r"redis\.p?call\('(\w+)'", text)}
    modules = "".join(path.read_text() for path in (ROOT / "app" / "registry").glob("*.py"))
    by_the_registry = {name.lower() for name in re.findall(r'\bsend\(\s*"(\w+)"', modules)}
    assert granted == by_scripts | by_the_registry | {"eval", "evalsha"} | BY_THE_CONNECTION


def test_the_documented_keys_are_those_of_the_default_namespace() -> None:
    patterns = [word for word in documented_rights() if word[0] in "~&"]
    assert patterns == [f"~{Keys().prefix}*", f"&{Keys().channel_name}"]
