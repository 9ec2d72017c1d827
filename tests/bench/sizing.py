"""What a replica and a Redis carry, for docs/sizing.md: `python -m tests.bench.sizing [--quick]`.

Rates are per second of the measured process' own CPU time: what it would do in a second with a core to itself.
So other work on the machine lowers them less than it would by the clock.
"""

import functools
import json
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from app.crypto.tokens import Key
from tests.bench.http_load import Call, drive
from tests.bench.options import is_quick
from tests.bench.script_calls import Fleet
from tests.bench.servers import info, installed_servers, running_server
from tests.bench.sizing_tables import Bytes, Figures, Held, RedisRates, ReplicaRates, tables
from tests.bench.watching import cpu_s, cpu_taken
from tests.bench.wire import NEW, OK, send_all
from tests.bench.write_up import publish, say
from tests.journeys.deployment import REGISTRATION_KEY, Deployment, Replica, channel_token
from tests.support.engines import RedisServer
from tests.support.waiting import eventually_sync

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "sizing.md"

COUNTS: Final = (1_000, 10_000)
FLEETS: Final = (0, 10, 10_000)
_SFU_KEY: Final = "a2V5IG9mIG9uZSBTRlUsIG5vdCBvZiBhbnkgb3RoZXI="
_TOKEN_LIFE_S: Final = 240


@dataclass(frozen=True, slots=True)
class Plan:
    """How long is measured."""

    drive_s: int
    """Seconds of each kind of request."""
    rounds: int
    idle_s: float
    """For so long a replica is watched while nobody asks it."""


FULL: Final = Plan(drive_s=4, rounds=3, idle_s=25)
QUICK: Final = Plan(drive_s=1, rounds=1, idle_s=3)


def redis_bytes(server: RedisServer, count: int) -> Bytes:
    """Measure what `count` SFUs, and as many issuers with a channel each, take of an empty server."""
    fleet = Fleet(count)
    issuers = [f"https://odoo.example.com:channel:{number:06}" for number in range(count)]
    at = [_used(server)]
    for marker, batch in (
        (OK, fleet.registrations),
        (NEW, lambda: fleet.calls("new", issuers, "r")),
        (OK, lambda: fleet.reports(server, issuers, "r")),
    ):
        send_all(server.port, batch(), marker)
        at.append(_used(server))
    for issuer in issuers:
        server.call("DEL", f"{{fleet-{count}}}:channel:{issuer}")
    at.append(_used(server))
    (empty, no_keys), (with_sfus, sfu_keys), _, (placed, all_keys), (without_channels, _) = at
    return Bytes(
        count,
        sfu=(with_sfus - empty) / count,
        sfu_keys=(sfu_keys - no_keys) / count,
        placement=(without_channels - with_sfus) / count,
        channel=(placed - without_channels) / count,
        issuer_keys=(all_keys - sfu_keys) / count,
    )


def _used(server: RedisServer) -> tuple[int, int]:
    return int(info(server, "memory")["used_memory"]), int(server.call("DBSIZE"))


def redis_rates(server: RedisServer, rounds: int, calls: int = 5_000) -> RedisRates:
    """Measure calls per second of the server's CPU, the best of some rounds."""
    fleet = Fleet(1_000)
    send_all(server.port, fleet.registrations(), OK)
    best = {"heartbeat": 0.0, "placement": 0.0}
    for number in range(rounds):
        issuers = [f"https://odoo.example.com:channel:{number}-{index}" for index in range(calls)]
        heartbeats = fleet.calls("heartbeat", issuers, "r")
        selects = fleet.calls("new", issuers, f"r{number}")
        heartbeats_s = cpu_taken(server.pid, functools.partial(send_all, server.port, heartbeats, OK))
        selects_s = cpu_taken(server.pid, functools.partial(send_all, server.port, selects, NEW))
        reports = fleet.reports(server, issuers, f"r{number}")
        reports_s = cpu_taken(server.pid, functools.partial(send_all, server.port, reports, OK))
        best["heartbeat"] = max(best["heartbeat"], calls / heartbeats_s)
        best["placement"] = max(best["placement"], calls / (selects_s + reports_s))
    return RedisRates(**best)


def replica_rates(server: RedisServer, directory: Path, plan: Plan) -> ReplicaRates:
    """Measure one replica over HTTP with ten simulated SFUs: all kinds in turn, the best round of each."""
    limits = {"registration__max_per_second": "1000000", "registration__burst": "1000000"}
    with Deployment(server, directory, **limits) as deployment:
        deployment.forks = False
        replica = deployment.replica()
        deployment.fleet(10, [replica], "--max-sessions", "1000000000")
        eventually_sync(lambda: replica.selectable() == 10)
        rounds = [_round(replica, number, plan.drive_s) for number in range(plan.rounds)]
    return ReplicaRates(*(max(kind) for kind in zip(*rounds, strict=True)))


def _round(replica: Replica, number: int, seconds: int) -> tuple[float, float, float]:
    """Return the rates of the no-op route, of heartbeats and of channel requests."""
    expires = int(time.time()) + _TOKEN_LIFE_S
    issuers = (f"https://odoo.example.com:channel:{number}-{index}" for index in range(3_000 * seconds))
    channels = [Call("GET", "/v1/channel", f"jwt {channel_token(issuer, exp=expires)}") for issuer in issuers]
    kinds: Sequence[Sequence[Call]] = ([Call("GET", "/noop")], _heartbeats(expires), channels)
    noop, heartbeat, channel = (_rate(replica, calls, seconds) for calls in kinds)
    return noop, heartbeat, channel


def _heartbeats(expires: int) -> list[Call]:
    """Heartbeats of SFUs that drain: channel requests of the same run do not go to addresses without an SFU."""
    authorization = f"Bearer {Key.from_base64(REGISTRATION_KEY).sign({'exp': expires})}"
    body = {"status": "up", "region": "eu-west", "key": _SFU_KEY, "draining": True}
    figures = {"channels": 12, "sessions": 45, "cpuUsage": 0.35, "memoryUsage": 0.48}
    addresses = (f"http://10.0.{number >> 8}.{number & 255}:8070" for number in range(1_000))
    return [
        Call("POST", "/v1/sfu", authorization, json.dumps(body | figures | {"address": address}))
        for address in addresses
    ]


def _rate(replica: Replica, calls: Sequence[Call], seconds: int) -> float:
    before = cpu_s(replica.process.pid)
    answered = drive(replica.url.rstrip("/"), calls, seconds)
    return answered / (cpu_s(replica.process.pid) - before)


def replicas_held(server: RedisServer, directory: Path, plan: Plan) -> tuple[list[Held], float]:
    """Measure what replicas take that nobody asks, by the size of their fleet.

    And the share of a core that they take of Redis, nearly all of it by the replica of the largest fleet.
    """
    for size in FLEETS:
        send_all(server.port, Fleet(size).registrations(), OK)
    with Deployment(server, directory) as deployment:
        deployment.forks = False
        pids = [deployment.replica(redis__namespace=f"fleet-{size}").process.pid for size in FLEETS]
        before = [cpu_s(pid) for pid in (*pids, server.pid)]
        rss = _highest_rss(pids, plan.idle_s)
        after = [cpu_s(pid) for pid in (*pids, server.pid)]
    *shares, of_redis = [(end - start) / plan.idle_s for start, end in zip(before, after, strict=True)]
    return [Held(*row) for row in zip(FLEETS, rss, shares, strict=True)], of_redis


def _highest_rss(pids: Sequence[int], seconds: float) -> list[int]:
    """Watch some processes: reading a fleet takes memory for a moment, and a pod's limit has to bear it."""
    highest = [0] * len(pids)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        now = [int(psutil.Process(pid).memory_info().rss) for pid in pids]
        highest = [max(pair) for pair in zip(highest, now, strict=True)]
        time.sleep(0.02)
    return highest


def measure(plan: Plan) -> Figures:
    """Measure everything, each part on a server of its own."""
    version = installed_servers()["redis"]
    with running_server("redis") as server:
        counts = [redis_bytes(server, count) for count in COUNTS]
    with running_server("redis") as server:
        redis = redis_rates(server, plan.rounds)
    with tempfile.TemporaryDirectory() as directory:
        with running_server("redis") as server:
            replica = replica_rates(server, Path(directory), plan)
        with running_server("redis") as server:
            held, of_redis = replicas_held(server, Path(directory), plan)
    machine = (
        f"{psutil.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {version}; "
        "shared machine: read ratios."
    )
    return Figures(machine, counts, redis, replica, held, of_redis)


def main() -> None:
    """Measure, print, and bring docs/sizing.md up to date."""
    quick = is_quick()
    for name, text in tables(measure(QUICK if quick else FULL)).items():
        say(f"{name}\n{text}")
        if not quick:
            publish(name, text, PAGE)


if __name__ == "__main__":
    main()
