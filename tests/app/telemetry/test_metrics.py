"""Metrics: true, documented, bounded in their labels, and never a reason to wait for Redis."""

import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from app.crypto.tokens import Key
from app.errors import RegistryUnavailable
from app.registry.capacity import Limits
from app.registry.registry import Registry
from app.registry.sfus import SfuReport, SfuStatus
from app.settings.model import (
    BalancingSettings,
    OverloadSettings,
    RegistrationSettings,
    Settings,
    WeightsSettings,
)
from app.telemetry.fleet_gauges import FleetGauges
from app.telemetry.metrics import MOST_REGIONS, Metrics
from tests.support.apps import running_app
from tests.support.engines import RedisServer
from tests.support.simulated import KEY, running_sfu
from tests.support.waiting import eventually
from workers.simulator.faults import Status
from workers.simulator.sfu import SimulatedSfu

DOCS = Path(__file__).parents[3] / "docs" / "metrics.md"
GATEWAY_KEY = Key(b"the key between Odoo and the gateway")
SETTINGS = Settings(
    key=(GATEWAY_KEY,),
    registration=RegistrationSettings(auth="none"),
    balancing=BalancingSettings(region_allow=()),
)

Labels = tuple[tuple[str, str], ...]


def value(text: str, name: str, **labels: str) -> float | None:
    """One sample of an exposition; `None` when there is no such series."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if (sample.name, sample.labels) == (name, labels):
                return float(sample.value)
    return None


def shown(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One sample of a registry."""
    return metrics.registry.get_sample_value(name, labels)


# The table in the docs


def every_series() -> Metrics:
    """Metrics after one of everything, so that each name has a sample to show its labels by."""
    metrics = Metrics()
    metrics.requested("/v1/sfu", 422, "invalid_field", 0.1)
    metrics.placed("eu-west", "fallback", attempts=2)
    metrics.forward_failed("eu-west")
    metrics.channel_orphaned("eu-west")
    gauges = FleetGauges(metrics, registry=None, limits=Limits(0.9, 0.5))  # type: ignore[arg-type]
    gauges.take([sfu()])
    gauges.show()
    return metrics


def exposed(registry: CollectorRegistry) -> dict[str, tuple[str, frozenset[str], str]]:
    """Name to type, labels and meaning of all that is ours."""
    found = {}
    for family in registry.collect():
        if family.name.startswith("sfu_gateway_"):
            labels = frozenset(name for sample in family.samples for name in sample.labels) - {"le"}
            name = family.name + ("_total" if family.type == "counter" else "")
            found[name] = (family.type, labels, family.documentation)
    return found


def documented() -> dict[str, tuple[str, frozenset[str], str]]:
    """The rows of the docs."""
    rows = re.findall(
        r"^\| `(sfu_gateway_\w+)` \| (\w+) \| ([^|]*) \| ([^|]+) \| \d+\.\d+\.\d+ \|$", DOCS.read_text(), re.M
    )
    return {name: (kind, frozenset(re.findall(r"\w+", labels)), text) for name, kind, labels, text in rows}


def test_the_docs_name_every_metric_and_no_other() -> None:
    assert documented() == exposed(every_series().registry)


# What a replica did


@asynccontextmanager
async def gateway_with(*sfus: SimulatedSfu) -> AsyncIterator[httpx.AsyncClient]:
    """A replica that `sfus` have reported to."""
    async with running_app(SETTINGS) as client:
        for each in sfus:
            await heartbeat(client, each.address, region=each.config.region, key=each.key_text)
        yield client


async def heartbeat(client: httpx.AsyncClient, address: str, **fields: Any) -> None:
    """Report an SFU."""
    document = {
        "status": "up",
        "address": address,
        "key": "AAAA",
        "region": "eu-west",
        "sessions": 0,
    } | fields
    (await client.post("/v1/sfu", json=document)).raise_for_status()


async def ask(client: httpx.AsyncClient, issuer: str = "a", **query: str) -> httpx.Response:
    """Ask for a channel."""
    token = GATEWAY_KEY.sign({"iss": issuer, "exp": int(time.time()) + 30})
    return await client.get("/v1/channel", params=query, headers={"Authorization": f"jwt {token}"})


async def scraped(client: httpx.AsyncClient) -> str:
    """What Prometheus gets."""
    response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    return response.text


async def test_a_placed_channel_is_counted_with_its_phases() -> None:
    async with running_sfu() as (sfu, _), gateway_with(sfu) as client:
        assert (await ask(client)).is_success
        assert (await ask(client)).is_success
        text = await scraped(client)
    assert value(text, "sfu_gateway_requests_total", route="/v1/channel", code="200") == 2
    assert value(text, "sfu_gateway_placements_total", region="eu-west", reason="least-load") == 1
    assert value(text, "sfu_gateway_placements_total", region="eu-west", reason="sticky") == 1
    assert value(text, "sfu_gateway_heartbeats_total", outcome="accepted") == 1
    assert value(text, "sfu_gateway_request_duration_seconds_count", route="/v1/channel") == 2
    counts = {
        phase: value(text, "sfu_gateway_phase_duration_seconds_count", phase=phase)
        for phase in ("verify", "select", "forward", "report")
    }
    assert counts == {"verify": 2, "select": 2, "forward": 2, "report": 1}  # a sticky one reports nothing new


async def test_a_caller_cannot_make_labels() -> None:
    async with running_sfu() as (sfu, _), gateway_with(sfu) as client:
        assert (await ask(client, region="made-up-region")).is_success
        await client.get("/r/made-up-path/v1/channel")
        await client.get("/made-up-route")
        text = await scraped(client)
    assert "made-up" not in text
    assert value(text, "sfu_gateway_ignored_region_hints_total") == 1
    assert value(text, "sfu_gateway_requests_total", route="/r/{region}/v1/channel", code="401") == 1
    assert value(text, "sfu_gateway_requests_total", route="other", code="404") == 1
    assert value(text, "sfu_gateway_problems_total", code="credentials_missing") == 1


async def test_a_failover_is_counted_where_it_ended() -> None:
    async with running_sfu() as (broken, _), running_sfu() as (good, _), gateway_with(broken) as client:
        broken.fault = Status(fault="status", status=500)
        await heartbeat(client, good.address, key=good.key_text, sessions=500)
        assert (await ask(client)).is_success
        text = await scraped(client)
    assert value(text, "sfu_gateway_failovers_total", region="eu-west") == 1
    assert value(text, "sfu_gateway_forward_failures_total", region="eu-west") == 1


async def test_a_shed_request_is_counted_apart_from_a_full_fleet() -> None:
    metrics = Metrics()
    metrics.refused_early(503, "overloaded")  # by the server
    metrics.shed()  # in the endpoint, whose request is counted like any other
    metrics.requested("/v1/channel", 503, "overloaded", 0.001)
    metrics.requested("/v1/channel", 503, "overloaded", 0.001)  # the fleet is full
    metrics.refused_early(400, "bad_request")
    assert shown(metrics, "sfu_gateway_shed_requests_total") == 2
    assert shown(metrics, "sfu_gateway_problems_total", code="overloaded") == 3
    assert shown(metrics, "sfu_gateway_problems_total", code="bad_request") == 1


def test_of_too_many_regions_the_rest_share_a_label() -> None:
    metrics = Metrics()
    for number in range(MOST_REGIONS + 5):
        metrics.placed(f"region-{number}", "least-load", attempts=1)
    metrics.placed("region-0", "least-load", attempts=1)
    assert shown(metrics, "sfu_gateway_placements_total", region="region-0", reason="least-load") == 2
    assert shown(metrics, "sfu_gateway_placements_total", region="other", reason="least-load") == 5


# What the fleet is


def sfu(**changes: Any) -> SfuStatus:
    """An SFU with 100 of 1000 sessions and nothing else to do."""
    base: dict[str, Any] = {
        "address": "http://sfu1:8070",
        "region": "eu-west",
        "state": "selectable",
        "breaker": "closed",
        "generation": 1,
        "heartbeat_age_ms": 1_500,
        "channels": 3,
        "sessions": 100,
        "max_sessions": 1000,
        "load": 0.05,
    }
    return SfuStatus(**base | changes)


@pytest.mark.parametrize(
    ("changes", "free"),
    [
        pytest.param({}, 900, id="capacity is what ends first"),
        pytest.param({"reserved": 50.0, "load": 0.075}, 850, id="what is reserved is taken"),
        pytest.param({"load": 0.65}, 500, id="busy with something else: the load limit comes first"),
        pytest.param({"load": 0.95}, 0, id="above the limit"),
        pytest.param({"state": "overloaded", "tier": "overloaded", "load": 0.95}, 0, id="not selectable"),
        pytest.param({"state": "draining", "tier": ""}, 0, id="draining"),
    ],
)
def test_headroom_is_what_fits_below_the_first_limit(changes: dict[str, Any], free: float) -> None:
    assert Limits(max_load=0.9, weight_sessions=0.5).headroom(sfu(**changes)) == pytest.approx(free)


def test_headroom_without_weight_on_sessions_is_what_fits_by_number() -> None:
    assert Limits(max_load=0.9, weight_sessions=0).headroom(sfu(load=0.5)) == 900


def test_limits_are_those_of_the_settings() -> None:
    settings = Settings(
        overload=OverloadSettings(max_load=0.7),
        balancing=BalancingSettings(weights=WeightsSettings(sessions=0.2)),
    )
    assert Limits.from_settings(settings) == Limits(0.7, 0.2)


class Clock:
    """Seconds, moved by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def registry(redis: Redis) -> Registry:
    """A registry on each engine in turn."""
    return Registry.from_settings(redis, SETTINGS)


def report(number: int, region: str = "eu-west", sessions: int = 100) -> SfuReport:
    return SfuReport(f"http://sfu{number}:8070", region, KEY, channels=2, sessions=sessions)


async def read(registry: Registry, gauges: FleetGauges) -> None:
    """Set `gauges` to the fleet as it is now."""
    gauges.begin()
    gauges.take(await registry.fleet.sfus())
    await gauges.finish()


async def test_the_fleet_is_counted_by_region_and_state(registry: Registry) -> None:
    for number, region in enumerate(("eu-west", "eu-west", "us-east")):
        await registry.registrations.heartbeat(report(number, region))
    await registry.fleet.drain("http://sfu1:8070")
    metrics = Metrics()
    await read(registry, FleetGauges(metrics, registry, Limits(0.9, 0.5)))
    assert shown(metrics, "sfu_gateway_sfus", region="eu-west", state="selectable", reason="") == 1
    assert shown(metrics, "sfu_gateway_sfus", region="eu-west", state="draining", reason="operator") == 1
    assert shown(metrics, "sfu_gateway_selectable_sfus", region="eu-west") == 1
    assert shown(metrics, "sfu_gateway_breakers", region="us-east", state="closed") == 1
    assert shown(metrics, "sfu_gateway_sessions", region="eu-west") == 200
    assert shown(metrics, "sfu_gateway_channels", region="us-east") == 2
    assert shown(metrics, "sfu_gateway_headroom_sessions", region="eu-west") == 900
    assert shown(metrics, "sfu_gateway_headroom_ratio", region="us-east") == pytest.approx(0.9)
    age = shown(metrics, "sfu_gateway_heartbeat_age_seconds", region="eu-west")
    assert age is not None
    assert 0 <= age < 5


async def test_a_region_that_is_gone_has_no_series(registry: Registry) -> None:
    await registry.registrations.heartbeat(report(1))
    metrics = Metrics()
    gauges = FleetGauges(metrics, registry, Limits(0.9, 0.5))
    await read(registry, gauges)
    await registry.fleet.forget("http://sfu1:8070")
    await read(registry, gauges)
    assert shown(metrics, "sfu_gateway_sfus", region="eu-west", state="selectable", reason="") is None


async def test_transitions_count_from_the_first_read_and_wait_until_published(registry: Registry) -> None:
    clock, metrics = Clock(), Metrics()
    gauges = FleetGauges(metrics, registry, Limits(0.9, 0.5), clock)
    await registry.registrations.heartbeat(report(1))
    await read(registry, gauges)
    assert shown(metrics, "sfu_gateway_transitions_total", type="up") == 0
    await registry.registrations.heartbeat(report(2))
    await read(registry, gauges)
    assert shown(metrics, "sfu_gateway_transitions_total", type="up") == 1
    clock.now += 30
    await read(registry, gauges)
    lag = shown(metrics, "sfu_gateway_event_lag_seconds")
    assert lag is not None
    assert 30 <= lag < 35
    await registry.sweeps.acquire_lease("sweeper", 10_000)
    await registry.outbox.commit_cursor("sweeper", await registry.outbox.last_event_id())
    await read(registry, gauges)
    assert shown(metrics, "sfu_gateway_event_lag_seconds") == 0


# Redis away


@pytest.fixture
def paused(own_server: RedisServer) -> Iterator[RedisServer]:
    """A server that goes on in the end, whatever happens to it meanwhile."""
    yield own_server
    own_server.resume()


async def test_the_last_values_stay_and_age_while_redis_is_away(paused: RedisServer) -> None:
    clock, metrics = Clock(), Metrics()
    async with paused.connect() as client:
        registry = Registry.from_settings(client, SETTINGS)
        gauges = FleetGauges(metrics, registry, Limits(0.9, 0.5), clock)
        await registry.registrations.heartbeat(report(1))
        await read(registry, gauges)
        paused.pause()
        clock.now += 60
        with pytest.raises(RegistryUnavailable):
            await read(registry, gauges)
    assert shown(metrics, "sfu_gateway_selectable_sfus", region="eu-west") == 1
    assert shown(metrics, "sfu_gateway_fleet_age_seconds") == 60


async def test_a_scrape_does_not_wait_for_redis_and_says_that_it_is_away(paused: RedisServer) -> None:
    # As the product's client: on a stalled event loop, redis-py (by `asyncio.wait_for` of Python 3.11) loses the
    # cancellation by which the gateway's own timeout ends a call, and the client's one ends it.
    timeout_s = SETTINGS.redis.timeout_ms / 1000
    client_of_redis = Redis.from_url(paused.url, decode_responses=True, socket_timeout=timeout_s)
    async with client_of_redis as redis, running_app(SETTINGS, redis) as client:
        assert value(await scraped(client), "sfu_gateway_snapshot_mode") == 0
        paused.pause()

        async def is_away() -> bool:
            return value(await scraped(client), "sfu_gateway_snapshot_mode") == 1

        await eventually(is_away)
        started = time.perf_counter()
        text = await scraped(client)
        assert time.perf_counter() - started < 0.1
    errors = value(text, "sfu_gateway_script_errors_total", kind="unavailable")
    assert errors is not None
    assert errors >= 1


async def test_a_script_that_fails_is_a_defect_of_ours(own_server: RedisServer) -> None:
    async with own_server.connect() as redis, running_app(SETTINGS, redis) as client:
        own_server.call("SET", "{sfu}:node:http://sfu1:8070", "no hash")
        document = {"status": "up", "address": "http://sfu1:8070", "key": "AAAA"}
        assert (await client.post("/v1/sfu", json=document)).status_code == 500
        assert value(await scraped(client), "sfu_gateway_script_errors_total", kind="defect") == 1


def test_a_flood_of_scrapes_is_answered_with_one_text_a_second() -> None:
    now = 0.0
    metrics = Metrics(clock=lambda: now)

    def scrapes(times: int, *accepts: str) -> int:
        texts = set()
        for _ in range(times):
            for accept in accepts:
                metrics.shed()
                texts.add(metrics.exposition(accept)[0])
        return len(texts)

    assert scrapes(100, "") == 10
    forms = [f"text/plain; version=1.0.0; escaping={n}" for n in range(50)]
    forms += [f"application/openmetrics-text; version=1.0.{n}; escaping=dots" for n in range(50)]
    assert scrapes(5, *forms) <= 20
    old = metrics.exposition("")
    now = 1.0
    assert metrics.exposition("") != old
    assert scrapes(100, "") == 1


def test_openmetrics_is_for_those_who_accept_it() -> None:
    body, content_type = Metrics().exposition("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
