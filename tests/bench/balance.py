"""How evenly placements load a fleet, beside other strategies: `python -m tests.bench.balance [--quick]`.

Every strategy meets the same calls (`traces`), in simulated time (`simulation`). The gateway's own placements
are made by the real scripts on a real server, which get the simulated time as their `now`.
"""

import asyncio
import functools
import multiprocessing
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from app.crypto.sealing import Sealer
from app.crypto.tokens import Key
from app.registry.client import close_client, connect
from app.registry.keys import Keys
from app.registry.placements import Busy, PlacementRequest
from app.registry.policy import Policy
from app.registry.registry import Registry
from app.registry.sfus import SfuReport
from app.registry.shipped_scripts import shipped_scripts
from app.settings.model import BalancingSettings, HealthSettings, RedisSettings, Settings
from tests.bench.balance_tables import (
    FLASH,
    GATEWAY,
    GATEWAY_2,
    NEWCOMER,
    ORACLE,
    STRATEGIES,
    Outcomes,
    draw,
    excess_table,
    mean_excess,
    newcomer_table,
    verdict_table,
    worst_excess,
)
from tests.bench.options import is_quick
from tests.bench.servers import installed_servers, running_server
from tests.bench.simulation import Outcome, Simulation
from tests.bench.strategies import Even, Lowest, Scripts, Strategy, TwoChoices
from tests.bench.traces import Scenario, make_trace
from tests.bench.wire import Postponing
from tests.bench.write_up import publish, say, table
from tests.support.calls import call_id
from tests.support.engines import RedisServer, ServerName

_WORKERS: Final = 2
_FIRST_SEED: Final = 100
"""Those below it are for trying out changes to the scripts."""
_EPOCH_MS: Final = 1_700_000_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What is simulated, each scenario with so many seeds."""

    seeds: dict[Scenario, int]
    equal: tuple[tuple[int, int], ...] = ((1_000, 10), (200, 22), (1_000, 100))
    """Simultaneous channels and the SFUs they are spread over."""


FULL: Final = Plan(
    {
        Scenario("10 SFUs", 10): 9,
        Scenario("100 SFUs", 100): 7,
        Scenario("1,000 SFUs", 1_000, measured_ms=200_000): 1,
        Scenario("mixed, 100 SFUs", 100, is_mixed=True): 7,
        FLASH: 7,
        NEWCOMER: 7,
    }
)
QUICK: Final = Plan(
    {
        Scenario("10 SFUs", 10): 3,
        Scenario("mixed, 40 SFUs", 40, is_mixed=True): 1,
        Scenario("flash crowd, 40 SFUs", 40, flash=20, measured_ms=200_000): 1,
    }
)


@dataclass(frozen=True, slots=True)
class Job:
    """One simulation."""

    scenario: Scenario
    seed: int
    strategy: str
    server: ServerName


def simulate(job: Job) -> Outcome:
    """Run one job, on a server of its own where it needs one."""
    simulation = Simulation(make_trace(job.scenario, job.seed))
    rng = random.Random(f"{job.strategy}-{job.seed}")
    if job.strategy not in (GATEWAY, GATEWAY_2):
        return asyncio.run(simulation.run(_plain(job.strategy, simulation, rng)))
    choices = 2 if job.strategy == GATEWAY_2 else 1
    policy = _policy(choices)
    with running_server(job.server, policy) as server:
        return _with_scripts(simulation, server, policy, rng)


def _plain(name: str, simulation: Simulation, rng: random.Random) -> Strategy:
    lowest = functools.partial(Lowest, simulation, rng)
    make: dict[str, Callable[[], Strategy]] = {
        "two choices": lambda: TwoChoices(simulation, rng),
        "round robin": lambda: Even(simulation, rng, in_turn=True),
        "random": lambda: Even(simulation, rng, in_turn=False),
        "stale least-load": lambda: lowest(lambda: simulation.reported),
        ORACLE: lambda: lowest(lambda: simulation.committed),
        "oracle: no delay": lambda: lowest(lambda: simulation.expected),
        "oracle: true sessions": lambda: lowest(lambda: simulation.sessions),
    }
    return make[name]()


def _with_scripts(simulation: Simulation, server: RedisServer, policy: Policy, rng: random.Random) -> Outcome:
    scripts = shipped_scripts(policy)
    replies = {
        scripts.heartbeat.sha: ("ok", 0, 1, 0, ""),
        scripts.record_outcome.sha: ("ok", 1, "", ""),
    }
    client = Postponing(server, replies)
    registry = Registry(
        client.as_client(),
        Keys("balance"),
        policy,
        Sealer([b"s" * 32]),
        timeout_s=60,
        clock=lambda: _EPOCH_MS + simulation.now_ms,
        draw=rng.random,
    )
    try:
        return asyncio.run(simulation.run(Scripts(simulation, registry)))
    finally:
        client.close()


def _policy(choices: int) -> Policy:
    """The defaults, but for SFUs that never expire.

    A node's deadline is simulated time, the TTL of its hash real time. With a day for both, no pause of the
    machine can end a node that is alive in the simulation.
    """
    return Policy.from_settings(
        Settings(
            balancing=BalancingSettings(choices=choices), health=HealthSettings(unhealthy_threshold=86_400)
        )
    )


def simulate_all(plan: Plan, server: ServerName) -> Outcomes:
    """Run every strategy on every trace, the longest first, two at a time."""
    jobs = [
        Job(scenario, seed, strategy, server)
        for scenario, seeds in sorted(plan.seeds.items(), key=lambda item: -item[0].sfus)
        for seed in range(_FIRST_SEED, _FIRST_SEED + seeds)
        for strategy in STRATEGIES
    ]
    spawn = multiprocessing.get_context("spawn")
    outcomes: Outcomes = {}
    with ProcessPoolExecutor(_WORKERS, mp_context=spawn) as processes:
        for job, outcome in zip(jobs, processes.map(simulate, jobs), strict=True):
            outcomes.setdefault((job.scenario, job.strategy), []).append(outcome)
    return outcomes


async def spread_equal(server: RedisServer, channels: int, sfus: int) -> int:
    """Place equal channels at once from four replicas; return the most on one SFU less the fewest."""
    settings = RedisSettings(url=SecretStr(server.url), timeout_ms=60_000)
    clients = [connect(settings) for _ in range(4)]
    keys = Keys(f"equal-{channels}-{sfus}")
    registries = [Registry(client, keys, _policy(1), Sealer([b"s" * 32]), timeout_s=60) for client in clients]
    addresses = [f"http://10.0.0.{number}:8070" for number in range(sfus)]
    for address in addresses:
        await registries[0].registrations.heartbeat(SfuReport(address, "simulated", Key(b"k" * 32)))
    requests = [
        PlacementRequest(id=f"request-{number}", call=call_id(f"call-{number}")) for number in range(channels)
    ]
    answers = await asyncio.gather(
        *(registries[number % 4].select(request) for number, request in enumerate(requests))
    )
    for client in clients:
        await close_client(client)
    placed = [answer.address for answer in answers if not isinstance(answer, Busy)]
    counts = [placed.count(address) for address in addresses]
    return max(counts) - min(counts)


def equal_table(plan: Plan, name: ServerName) -> str:
    """Return how evenly simultaneous equal channels are spread."""
    with running_server(name) as server:
        rows = [
            [f"{channels:,} over {sfus}", str(asyncio.run(spread_equal(server, channels, sfus)))]
            for channels, sfus in plan.equal
        ]
    return table(["equal channels over equal SFUs, 4 replicas", "most - fewest"], rows)


def main() -> None:
    """Simulate, print, and bring the documentation up to date."""
    quick = is_quick()
    plan = QUICK if quick else FULL
    server = next(iter(installed_servers()))
    outcomes = simulate_all(plan, server)
    tables = {
        "balance-mean": excess_table(outcomes, mean_excess),
        "balance-worst": excess_table(outcomes, worst_excess),
        "balance-target": verdict_table(outcomes),
        "balance-equal": equal_table(plan, server),
    }
    if NEWCOMER in plan.seeds:
        tables["balance-newcomer"] = newcomer_table(outcomes)
    for name, text in tables.items():
        say(f"{name}\n{text}")
        if not quick:
            publish(name, text)
    if not quick:
        draw(outcomes)


if __name__ == "__main__":
    main()
