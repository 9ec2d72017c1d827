"""R4, R5, R6, R8: sweepers that are on time, many, unheard, or asleep."""

import asyncio
import json
import time
from pathlib import Path

import httpx

from app.crypto.tokens import Key
from app.registry.client import close_client, connect
from app.registry.registry import Registry
from app.registry.sfus import SfuReport
from app.settings.loader import load_settings
from tests.chaos.conftest import start
from tests.chaos.rows import Row, Scale
from tests.journeys.deployment import GATEWAY_KEY, Deployment
from tests.support.redis_groups import RedisGroup
from tests.support.waiting import eventually, eventually_sync

KEY = "a2V5IG9mIG9uZSBTRlUsIG5vdCBvZiBhbnkgb3RoZXI="


def events(redis_group: RedisGroup) -> list[dict[str, str]]:
    """Everything in the outbox, oldest first."""
    return [fields for _, fields in redis_group.call("XRANGE", "{sfu}:events", "-", "+")]


def test_a_silent_sfu_is_called_down_on_time(redis_group: RedisGroup, tmp_path: Path, scale: Scale) -> None:
    row = Row("R4", "SFU silent", "`down` published 30.0 to 31.5 s after the last heartbeat, never early")
    threshold = scale.seconds(30, 2)
    with Deployment(redis_group.url, tmp_path, health__unhealthy_threshold=str(threshold)) as deployment:
        replica = deployment.replica()
        deployment.sweeper(), deployment.sweeper()
        address = "http://127.0.0.1:9"
        replica.heartbeat(address, KEY)
        reported_at = int(redis_group.call("HGET", f"{{sfu}}:node:{address}", "reported_at"))
        downs = eventually_sync(
            lambda: [event for event in events(redis_group) if event["type"] == "down"],
            timeout_seconds=threshold + 5,
        )
        time.sleep(0.6)
        published = redis_group.call("HGET", "{sfu}:fleet", "outbox_cursor")
    late_ms = int(downs[0]["at"]) - reported_at
    published_ms = int(str(published).partition("-")[0]) - reported_at
    figure = (
        f"down after {late_ms / 1000:.2f} s of a threshold of {threshold:g} s, {len(downs)} event from 2 sweepers, "
        f"published up to {published_ms / 1000:.2f} s"
    )
    row.record(figure, kept=threshold * 1000 <= late_ms <= threshold * 1000 + 1500 and len(downs) == 1)


async def test_every_transition_happens_once_however_many_sweep(
    redis_group: RedisGroup, scale: Scale
) -> None:
    sweepers, nodes = 8, scale.count(10_000, 1_000)
    row = Row("R5", f"8 sweepers, {nodes} transitions", "one event each, none twice, none missing")
    settings = load_settings(
        environ={
            "SFU_GATEWAY_KEY": GATEWAY_KEY,
            "SFU_GATEWAY_REDIS__URL": redis_group.url,
            "SFU_GATEWAY_HEALTH__UNHEALTHY_THRESHOLD": "0.5",
            "SFU_GATEWAY_REDIS__TIMEOUT_MS": "5000",
        }
    )
    clients = [connect(settings.redis) for _ in range(sweepers)]
    registries = [Registry.from_settings(client, settings) for client in clients]
    try:
        for number in range(nodes):
            report = SfuReport(f"http://10.1.{number >> 8}.{number & 255}:8070", "eu-west", Key(b"k" * 32))
            await registries[0].registrations.heartbeat(report)

        async def sweep(registry: Registry) -> int:
            count = 0
            while (
                (step := await registry.sweeps.expire()).count or step.has_more or step.expiry_suspended_until
            ):
                count += step.count
                if step.expiry_suspended_until:  # all are silent: expiry pauses first
                    await asyncio.sleep(0.05)
            return count

        await asyncio.sleep(0.6)  # now all are due
        counts = await asyncio.gather(*(sweep(registry) for registry in registries))
    finally:
        for client in clients:
            await close_client(client)
    said = await asyncio.to_thread(events, redis_group)
    downs = [event["address"] for event in said if event["type"] == "down"]
    figure = (
        f"{len(downs)} down events for {len(set(downs))} SFUs, {sum(c > 0 for c in counts)} sweepers had work"
    )
    row.record(figure, kept=len(downs) == len(set(downs)) == nodes)


def test_a_subscriber_that_was_away_misses_nothing(
    deployment: Deployment, redis_group: RedisGroup, scale: Scale
) -> None:
    row = Row("R6", "subscriber cut off", "0 events lost (replay by Last-Event-ID)")
    replica = deployment.replica()
    replica.heartbeat("http://127.0.0.1:9", KEY)
    (first,) = redis_group.call("XRANGE", "{sfu}:events", "-", "+")
    churn = scale.count(200, 30)
    for number in range(churn):
        status = "up" if number % 2 else "down"
        assert replica.heartbeat("http://127.0.0.1:9", KEY, status=status).status_code == 200
    received = []
    with httpx.stream(
        "GET", f"{replica.url}/v1/events", headers={"Last-Event-ID": first[0]}, trust_env=False
    ) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:"):
                received.append(json.loads(line.removeprefix("data:")))
            if len(received) == churn:
                break
    types = [event["type"] for event in received]
    figure = f"{len(received)} of {churn} missed events replayed, in order"
    row.record(figure, kept=types == ["down", "up"] * (churn // 2))


async def test_a_sweeper_that_slept_calls_nobody_down(
    deployment: Deployment, redis_group: RedisGroup, scale: Scale
) -> None:
    row = Row("R8", "sweeper stopped (SIGSTOP), then continued", "0 false downs")
    replica = deployment.replica()
    sweeper = deployment.sweeper()
    fleet = deployment.fleet(5, [replica], "--ping-interval-ms", "1000")
    await eventually(lambda: asyncio.to_thread(lambda: replica.selectable() == 5))
    sweeper.pause()
    await asyncio.sleep(scale.seconds(120, 6))
    sweeper.resume()
    await asyncio.sleep(3)
    downs = [event for event in await asyncio.to_thread(events, redis_group) if event["type"] == "down"]
    selectable = await asyncio.to_thread(replica.selectable)
    row.record(f"{len(downs)} false downs", kept=not downs and selectable == len(fleet.addresses))


async def test_sfus_outlive_a_redis_that_was_away_for_longer_than_their_threshold(
    deployment: Deployment, redis_group: RedisGroup, scale: Scale
) -> None:
    row = Row("R9 (return)", "Redis away for longer than the threshold", "no SFU missing after 11 s")
    replicas, fleet = start(deployment, replicas=2, sfus=5)
    redis_group.pause()
    await asyncio.sleep(scale.seconds(60, 5))
    redis_group.resume()
    resumed = time.monotonic()
    await eventually(
        lambda: asyncio.to_thread(
            lambda: all(
                replica.health()["mode"] == "registry" and replica.selectable() == len(fleet.addresses)
                for replica in replicas
            )
        ),
        timeout_seconds=15,
    )
    took = time.monotonic() - resumed
    row.record(f"whole fleet placed on by the registry after {took:.1f} s", kept=took <= 11)
