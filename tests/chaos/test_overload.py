"""R18: far more than a replica can do, for a minute: ten times through the shipped HAProxy, three times without.

The replica gets a core of its own; HAProxy, Redis, the SFUs and the callers share the others, or they would be
measured. The SFUs only answer.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.bench.sfu_stand_in import address_of
from tests.chaos.load import Answers, Load
from tests.chaos.overload import Figures, crowd_process, figures_of
from tests.chaos.rows import Row, Scale
from tests.journeys.deployment import Deployment, Replica
from tests.support.haproxy import shipped_haproxy
from tests.support.ports import free_port
from tests.support.processes import Process, prints
from tests.support.redis_groups import RedisGroup

SFUS, CALM_S = 20, 12
KEY = "a2V5IG9mIG9uZSBTRlUsIG5vdCBvZiBhbnkgb3RoZXI="


@dataclass(frozen=True, slots=True)
class Way:
    """How the load comes to the replica."""

    name: str
    what: str
    times: int
    is_proxied: bool
    options: tuple[str, ...] = ()
    """Of the generator."""


WAYS: Final = (
    Way("proxied", "through the shipped HAProxy", 10, is_proxied=True),
    Way("direct", "each on a new connection", 3, is_proxied=False, options=("--one-each",)),
)


@dataclass(frozen=True, slots=True)
class StandIns:
    """SFUs that only answer, all in one process."""

    port: int

    def tries(self) -> int:
        """Return how many channels they have made, this one included: they number them."""
        url = f"{address_of(0, self.port)}/v1/channel"
        return int(httpx.get(url, trust_env=False).json()["uuid"], 16)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_a_replica_offered_far_more_than_it_can_do_goes_on_serving(
    way: Way, redis_group: RedisGroup, tmp_path: Path, scale: Scale
) -> None:
    row = Row(
        f"R18 ({way.name})",
        f"{way.times} times a replica's peak, {way.what}",
        "goodput >= 90 % of peak, refusals in <= 20 ms with Retry-After, tries <= 1.2 x requests, "
        "normal <= 5 s later",
    )
    seconds = scale.seconds(60, 6)
    with ExitStack() as stack:
        core = stack.enter_context(_apart(redis_group))
        deployment = stack.enter_context(
            Deployment(redis_group.url, tmp_path, health__unhealthy_threshold="3600", trust_proxy="1")
        )
        replica, sfus = _started(deployment)
        stack.enter_context(_stood_in(sfus, tmp_path))
        _pin(replica.process.pid, core)
        url = replica.url
        if way.is_proxied:
            proxy, url = shipped_haproxy(tmp_path, [replica.url.removeprefix("http://")])
            stack.enter_context(proxy)
        peak = await asyncio.to_thread(_peak, url, tmp_path, scale.seconds(10, 3))
        tries = -sfus.tries()
        parts = await asyncio.to_thread(_overload, url, tmp_path, way, peak, seconds)
        ended = asyncio.get_running_loop().time()
        tries += sfus.tries() - 1
        async with Load([url], 20, "after:{}".format).running() as after:
            await asyncio.sleep(CALM_S)
        mode = replica.health()["mode"]
    normal_s = _seconds_until_normal(after.answers, ended)
    _judge(row, scale, peak, parts, tries, normal_s, mode)


def _judge(
    row: Row, scale: Scale, peak: float, parts: Sequence[Figures], tries: int, normal_s: float, mode: str
) -> None:
    sent, served, refused = (
        sum(getattr(part, name) for part in parts) for name in ("sent", "served", "refused")
    )
    failed = sum((Counter(part.failed) for part in parts), Counter())
    offered, goodput = (
        count / parts[0].seconds / peak for count in (sum(part.due for part in parts), served)
    )
    refusals_ms = sorted(ms for part in parts for ms in part.refused_ms) or [0.0]
    p50, p99 = (refusals_ms[int(share * len(refusals_ms))] for share in (0.5, 0.99))
    silent, late_s = sum(part.without_retry_after for part in parts), max(part.late_s for part in parts)
    figure = (
        f"peak {peak:.0f}/s; offered {offered:.1f} x: goodput {goodput:.0%} of peak, {refused} refused "
        f"(p50 {p50:.1f} ms, p99 {p99:.1f} ms), {silent} without Retry-After, "
        f"otherwise failed {dict(failed) or 0}; the load up to {late_s:.2f} s late; "
        f"{tries / max(1, sent - refused):.2f} tries for each request taken; "
        f"last failure or slow answer {normal_s:.1f} s later, {mode} mode"
    )
    required = silent == 0 and tries <= 1.2 * (sent - refused)
    is_normal = normal_s <= 5 and mode == "registry"
    kept = required and goodput >= 0.9 and refused > 0 and p99 <= 20 and is_normal
    # How fast a replica is that shares its core with other work says nothing of it.
    row.record(figure, kept=kept, required=kept if scale.is_full else required)


@contextmanager
def _apart(redis_group: RedisGroup) -> Iterator[set[int]]:
    """Keep everything off one core, this process and what it will start included; give that core."""
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("needs two cores: one for the replica, others for all that acts on it")
    own = {max(cores)}
    os.sched_setaffinity(0, cores - own)
    for server in redis_group.processes:
        _pin(server.pid, cores - own)
    try:
        yield own
    finally:
        os.sched_setaffinity(0, cores)


def _pin(pid: int, cores: set[int]) -> None:
    """Let all threads of a process run on `cores` only."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)


def _started(deployment: Deployment) -> tuple[Replica, StandIns]:
    """Start a replica and a sweeper, and register SFUs that are never full."""
    replica, sfus = deployment.replica(), StandIns(free_port())
    deployment.sweeper()
    for number in range(SFUS):
        address = address_of(number, sfus.port)
        assert replica.heartbeat(address, KEY, maxSessions=1_000_000_000).status_code == 200
    return replica, sfus


@contextmanager
def _stood_in(sfus: StandIns, directory: Path) -> Iterator[None]:
    argv = [sys.executable, "-m", "tests.bench.sfu_stand_in", str(sfus.port)]
    with Process(argv, log=directory / "sfus.log", ready=prints("answering")):
        yield


def _peak(url: str, directory: Path, seconds: float) -> float:
    """Return the most channels per second that callers get who wait for their answers, of two numbers of them."""
    _crowd(url, directory, ["warm-up"], 1, "--asking", "32")
    runs = [_crowd(url, directory, [f"{n}-asking"], seconds, "--asking", str(n)) for n in (32, 128)]
    return max(figures.served for (figures,) in runs) / seconds


def _overload(url: str, directory: Path, way: Way, peak: float, seconds: float) -> list[Figures]:
    """Return what two processes measure that send on a schedule; one alone could not send so often."""
    rate = str(way.times * peak / 2)
    return _crowd(url, directory, ["one", "other"], seconds, "--rate", rate, *way.options)


def _crowd(url: str, directory: Path, names: Sequence[str], seconds: float, *options: str) -> list[Figures]:
    host = url.removeprefix("http://")
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                crowd_process(host, directory / f"{name}.log", "--seconds", str(seconds), *options)
            )
            for name in names
        ]
        return [figures_of(process, seconds + 40) for process in processes]


def _seconds_until_normal(answers: Answers, since: float) -> float:
    """How long it took until every request got its channel, and within half a second."""
    abnormal = [each for each in answers.all if each.status != 200 or each.latency_ms > 500]
    return max((each.started_at + each.latency_ms / 1000 - since for each in abnormal), default=0.0)
