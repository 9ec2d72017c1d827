"""R13: the primary and one replica of the gateway are cut off from everything else."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.rows import Row, Scale, engines
from tests.journeys.deployment import GATEWAY_KEY, REGISTRATION_KEY
from tests.support.engines import ChaosEngine, required_binary
from tests.support.namespaces import Side, TwoSides, two_sides
from tests.support.processes import Readiness, prints
from tests.support.redis_groups import server_name
from tests.support.waiting import eventually_sync

REDIS, SENTINEL, GATEWAY, SFUS = 7000, 7100, 7200, 4

NOT_APPLICABLE: dict[ChaosEngine, str] = {
    "redis": "one server has no other to go on without it; R9 and R10 are its partitions",
    "cluster": "a primary in the minority of a Cluster stops serving by itself, which then is R12",
}


@dataclass(frozen=True, slots=True)
class Gateway:
    """A replica on one side."""

    side: Side

    @property
    def url(self) -> str:
        return f"http://{self.side.address}:{GATEWAY}"

    def health(self) -> dict[str, Any]:
        """Return `/v1/health`, empty when there is no answer."""
        document: dict[str, Any] = json.loads(
            self.side.run("curl", "-s", "-m", "3", f"{self.url}/v1/health") or "{}"
        )
        return document

    def is_whole(self) -> bool:
        """Whether it places on every SFU by the registry."""
        health = self.health()
        return health.get("mode") == "registry" and health.get("selectable") == SFUS


def test_a_partition_leaves_no_sfu_missing(tmp_path: Path, scale: Scale) -> None:
    engine = engines("sentinel")[0]
    row = Row(
        "R13", "primary partitioned with one replica", "after healing no SFU missing within 11 s", engine
    )
    if reason := NOT_APPLICABLE.get(engine):
        row.skip(reason)
    with two_sides() as sides, _deployed(sides, tmp_path) as (cut_off, other):
        eventually_sync(lambda: cut_off.is_whole() and other.is_whole(), timeout_seconds=20)
        time.sleep(2)  # the replicas read their snapshots every second
        sides.pull_cable()
        time.sleep(scale.seconds(60, 10))
        during = (cut_off.health().get("mode"), other.health().get("mode"), other.health().get("selectable"))
        sides.plug_cable()
        healed = time.monotonic()
        eventually_sync(lambda: cut_off.is_whole() and other.is_whole(), timeout_seconds=30)
        took = time.monotonic() - healed
    figure = (
        f"parted: the cut-off replica in {during[0]} mode, the other in {during[1]} mode with {during[2]} SFUs; "
        f"whole {took:.1f} s after healing"
    )
    row.record(figure, kept=during == ("snapshot", "registry", SFUS) and took <= 11)


def _fleet(side: Side, gateways: Sequence[Gateway]) -> list[str | Path]:
    urls = [word for gateway in gateways for word in ("--gateway", gateway.url)]
    argv = ["-m", "workers.simulator", "--sfus", str(SFUS), "--host", side.address]
    return [sys.executable, *argv, "--ping-interval-ms", "2000", "--people", "0", *urls]


@contextmanager
def _deployed(sides: TwoSides, directory: Path) -> Iterator[tuple[Gateway, Gateway]]:
    """The primary, a Sentinel and a gateway on the left; all else on the right, the SFUs too."""
    left, right = sides.left, sides.right
    with ExitStack() as stack:

        def start(side: Side, name: str, argv: list[str | Path], ready: Readiness, **env: str) -> None:
            log = directory / f"{name}.log"
            stack.enter_context(side.process(argv, log=log, env=env, ready=ready))

        for number, side in enumerate((left, right, right)):
            start(side, f"redis-{number}", _redis(directory, number, side, left), prints("Ready to accept"))
        for number, side in enumerate((left, right, right)):
            start(
                side, f"sentinel-{number}", _sentinel(directory, number, side, left), prints("monitor master")
            )
        sentinels = ",".join(f"{side.address}:{SENTINEL + n}" for n, side in enumerate((left, right, right)))
        settings = {
            "SFU_GATEWAY_KEY": GATEWAY_KEY,
            "SFU_GATEWAY_REGISTRATION__KEY": REGISTRATION_KEY,
            "SFU_GATEWAY_REDIS__URL": f"redis+sentinel://{sentinels}/sfus",
            "SFU_GATEWAY_PORT": str(GATEWAY),
            "SFU_GATEWAY_HEALTH__UNHEALTHY_THRESHOLD": "9",
            "SFU_GATEWAY_HEALTH__PING_INTERVAL_MS": "2000",
        }
        gateways = [Gateway(left), Gateway(right)]
        for gateway in gateways:
            name = f"gateway-{gateway.side.name}"
            start(
                gateway.side, name, [sys.executable, "-m", "app", "serve"], prints("running on"), **settings
            )
        start(right, "sweeper", [sys.executable, "-m", "app", "sweep"], prints("sweeping"), **settings)
        start(right, "fleet", _fleet(right, gateways), prints("address"), **settings)
        yield gateways[0], gateways[1]


def _redis(directory: Path, number: int, side: Side, primary: Side) -> list[str | Path]:
    """The first is the primary; a primary without any replica takes no writes, so that none get lost."""
    home = directory / f"redis-{number}"
    home.mkdir()
    argv: list[str | Path] = [
        required_binary(server_name(engines("sentinel")[0])),
        "--port",
        str(REDIS + number),
        "--bind",
        side.address,
    ]
    argv += ["--save", "", "--protected-mode", "no", "--dir", home, "--repl-diskless-sync-delay", "0"]
    argv += ["--min-replicas-to-write", "1", "--min-replicas-max-lag", "2"]
    return [*argv, "--replicaof", primary.address, str(REDIS)] if number else argv


def _sentinel(directory: Path, number: int, side: Side, primary: Side) -> list[str | Path]:
    config = directory / f"sentinel-{number}.conf"
    config.write_text(
        f"port {SENTINEL + number}\nbind {side.address}\nprotected-mode no\ndir {directory}\n"
        f"sentinel monitor sfus {primary.address} {REDIS} 2\n"
        "sentinel down-after-milliseconds sfus 1000\nsentinel failover-timeout sfus 3000\n",
        encoding="utf-8",
    )
    return [required_binary(server_name(engines("sentinel")[0])), config, "--sentinel"]
