"""A former revision beside this one, in turns: CPU per request by rate, and how long answers take."""

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

import httpx

from tests.bench.http_load import Call, drive_hard
from tests.bench.open_loop import ask, schedule_of
from tests.bench.registry_watch import await_registry, redis_failures
from tests.bench.requests_of import NOOP, channel_requests, heartbeats
from tests.bench.rig import Target, rig_around_redis, sfus
from tests.bench.watching import Memory, cpu_s, memory_of
from tests.support.engines import RedisServer

FORMER: Final = "a14067c"
"""What this revision is compared with by default: the last one before the channel path was made anew."""

SFUS: Final = 50
_ROOT: Final = Path(__file__).resolve().parents[2]

Name: TypeAlias = Literal["former", "new"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a replica is asked, and how."""

    name: str
    kind: Literal["channel", "noop", "heartbeat"]
    in_flight: int = 0
    """Connections, each of which asks again as soon as it is answered."""
    per_s: float = 0
    """Without `in_flight`: at times decided beforehand."""
    most_per_s: int = 0
    """More than a replica answers: so many tokens are made, and no issuer comes twice."""


ALONE: Final = Asked("1 in flight", "channel", 1, most_per_s=2_000)
BUSY: Final = Asked("32 in flight", "channel", 32, most_per_s=7_000)
STEADY: Final = Asked("200 a second", "channel", per_s=200)
NOTHING: Final = Asked("no-op route, 32 in flight", "noop", 32)
BEATS: Final = Asked("heartbeats, 32 in flight", "heartbeat", 32)
LOADS: Final = (ALONE, Asked("4 in flight", "channel", 4, most_per_s=4_000), BUSY, STEADY, NOTHING, BEATS)


@dataclass(frozen=True, slots=True)
class Arm:
    """One revision: a replica, and a Redis of its own."""

    name: Name
    replica: Target
    redis: RedisServer


@dataclass(slots=True)
class Cost:
    """What requests took, added up over all rounds."""

    requests: int = 0
    replica_s: float = 0.0
    redis_s: float = 0.0
    failed: int = 0
    redis_failures: int = 0

    @property
    def replica_us(self) -> float:
        """CPU of the replica for one request."""
        return self.replica_s / self.requests * 1e6

    @property
    def redis_us(self) -> float:
        """CPU of Redis for one request."""
        return self.redis_s / self.requests * 1e6


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both revisions."""

    revision: str
    """The former one."""
    costs: dict[tuple[str, Name], Cost]
    memory: dict[Name, Memory] = field(default_factory=dict)
    start_s: dict[Name, float] = field(default_factory=dict)

    def ratio(self, asked: Asked) -> float:
        """CPU of a replica's request, new to former."""
        return self.costs[asked.name, "new"].replica_us / self.costs[asked.name, "former"].replica_us

    def share(self, asked: Asked, of: Asked, name: Name = "new") -> float:
        """How many of one kind of request a replica answers in the CPU time of one of the other kind."""
        return self.costs[of.name, name].replica_us / self.costs[asked.name, name].replica_us


@contextlib.contextmanager
def worktree(revision: str, directory: Path) -> Iterator[Path]:
    """Check a revision of this repository out beside it, until the block ends."""
    path = directory / "former"
    git = ["git", "-C", str(_ROOT)]
    subprocess.run(
        [*git, "worktree", "add", "--detach", str(path), revision], check=True, capture_output=True
    )
    try:
        yield path
    finally:
        subprocess.run([*git, "worktree", "remove", "--force", str(path)], check=True, capture_output=True)


@contextlib.contextmanager
def running_arms(
    directory: Path, former: Path, sfu_answer_ms: float = 0
) -> Iterator[tuple[list[Arm], list[str]]]:
    """Run both revisions around the same SFUs; yield them and the addresses of the SFUs."""
    with rig_around_redis(directory) as one, rig_around_redis(directory) as other:
        addresses = sfus(SFUS, one.stand_in(sfu_answer_ms))
        arms = [
            Arm("former", one.replica(tree=former, redis__timeout_ms="2000"), one.redis),
            Arm("new", other.replica(redis__timeout_ms="2000"), other.redis),
        ]
        for arm in arms:
            _register(arm.replica, addresses)
            drive_hard(arm.replica.url, channel_requests(5_000), 1, 8)
        yield arms, addresses


def _register(replica: Target, addresses: Sequence[str]) -> None:
    """By heartbeats: each revision has a registry of its own making."""
    with httpx.Client(trust_env=False, timeout=10) as client:
        for call in heartbeats(addresses):
            answer = client.post(
                replica.url + call.path, headers={"Authorization": call.authorization}, content=call.body
            )
            answer.raise_for_status()


def measure_costs(
    arms: Sequence[Arm], addresses: Sequence[str], loads: Sequence[Asked], seconds: int, rounds: int
) -> dict[tuple[str, Name], Cost]:
    """Ask the arms in turns, there and back: what slowly changes about the machine touches both alike."""
    costs: dict[tuple[str, Name], Cost] = {(asked.name, arm.name): Cost() for asked in loads for arm in arms}
    for number in range(rounds):
        for asked in loads:
            for arm in arms if number % 2 == 0 else reversed(arms):
                _add(costs[asked.name, arm.name], arm, asked, addresses, seconds)
    return costs


def _add(cost: Cost, arm: Arm, asked: Asked, addresses: Sequence[str], seconds: int) -> None:
    calls = _calls(asked, addresses, seconds)
    url = arm.replica.url
    await_registry(url)
    lost = redis_failures(url)
    before = cpu_s(arm.replica.pid), cpu_s(arm.redis.pid)
    if asked.in_flight:
        done = drive_hard(url, calls, seconds, asked.in_flight)
        cost.requests += done.answered
        cost.failed += done.failed
    else:
        outcome = ask(url, calls, asked.per_s, seconds)
        cost.requests += len(schedule_of(asked.per_s, seconds))
        cost.failed += outcome.failed
    cost.replica_s += cpu_s(arm.replica.pid) - before[0]
    cost.redis_s += cpu_s(arm.redis.pid) - before[1]
    cost.redis_failures += redis_failures(url) - lost


def _calls(asked: Asked, addresses: Sequence[str], seconds: int) -> Sequence[Call]:
    if asked.kind == "noop":
        return NOOP
    if asked.kind == "heartbeat":
        return heartbeats(addresses)
    return channel_requests(int((asked.most_per_s or 1.5 * asked.per_s) * seconds) + 100)


def measure_starts(directory: Path, former: Path, starts: int) -> dict[Name, float]:
    """Return the shortest of some starts of each revision, in turns: until it says that it is ready."""
    with rig_around_redis(directory) as one, rig_around_redis(directory) as other:
        taken = [(one.start_s(tree=former), other.start_s()) for _ in range(starts)]
    return {"former": min(each[0] for each in taken), "new": min(each[1] for each in taken)}


def compare(
    revision: str, directory: Path, former: Path, seconds: int, rounds: int, starts: int
) -> Comparison:
    """Measure CPU, memory and start of both revisions."""
    with running_arms(directory, former) as (arms, addresses):
        costs = measure_costs(arms, addresses, LOADS, seconds, rounds)
        memory = {arm.name: memory_of(arm.replica.pid) for arm in arms}
    return Comparison(revision, costs, memory, measure_starts(directory, former, starts))
