"""What a placement costs Redis, from 10 to 100,000 SFUs: `python -m tests.bench.select_cost [--quick]`.

Fleets of all sizes live in one server, each in a namespace of its own, and take turns. So whatever else the
machine does touches all of them alike: their ratios mean something where the microseconds do not.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.options import is_quick
from tests.bench.plots import Labels, draw_lines
from tests.bench.script_calls import Fleet, Kind
from tests.bench.servers import calls_per_cpu_s, info, installed_servers, running_server
from tests.bench.wire import NEW, OK, PING, PONG, STICKY, send_all
from tests.bench.write_up import publish, say, table
from tests.support.engines import RedisServer

MARKERS: Final[dict[Kind, bytes]] = {"new": NEW, "sticky": STICKY, "heartbeat": OK}
_LABELS: Final = {
    "new": "new placement",
    "sticky": "sticky placement",
    "report": "report",
    "heartbeat": "heartbeat",
}
MAX_COST_RATIO: Final = 1.2
MIN_SELECTS_PER_S: Final = 25_000

_CLIENTS: Final = 2
"""Connections that measure throughput: while one is between batches, the other keeps the server busy."""

_UNCONFIRMED_S: Final = 1.1
"""A placement confirmed less than a second ago is answered without a hold, which is cheaper."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    sizes: tuple[int, ...]
    rounds: int
    calls: int
    """Calls of each kind per fleet and round: few, so that some rounds are over before anything interrupts."""
    throughput_rounds: int
    throughput_calls: int
    """Calls per connection and round."""


FULL: Final = Plan(
    (10, 100, 1_000, 10_000, 100_000), rounds=20, calls=250, throughput_rounds=20, throughput_calls=2_500
)
QUICK: Final = Plan((10, 1_000, 10_000), rounds=6, calls=200, throughput_rounds=3, throughput_calls=3_000)

_THROUGHPUT_SIZE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Costs:
    """What one engine took."""

    engine: str
    usec: dict[tuple[int, str], float]
    """Server time per call by number of SFUs, the best round: interruptions only ever add."""
    per_s: dict[str, float]
    """Calls per second of the server's CPU time, by kind and for `ping`, the best round."""

    @property
    def sizes(self) -> list[int]:
        """The numbers of SFUs, ascending."""
        return sorted({size for size, _ in self.usec})

    def ratio(self, kind: str) -> float:
        """Cost with the largest fleet relative to the smallest."""
        return self.usec[self.sizes[-1], kind] / self.usec[self.sizes[0], kind]


def measure(engine: str, server: RedisServer, plan: Plan) -> Costs:
    """Measure one running, empty `server`."""
    fleets = [Fleet(size) for size in plan.sizes]
    for fleet in fleets:
        send_all(server.port, fleet.registrations(), OK)
    rounds = [_round(server, fleets, f"round-{number}", plan.calls) for number in range(plan.rounds + 1)]
    usec = {point: min(figures[point] for figures in rounds[1:]) for point in rounds[0]}
    return Costs(engine, usec, _throughput(server, plan))


def _round(
    server: RedisServer, fleets: Sequence[Fleet], name: str, calls: int
) -> dict[tuple[int, str], float]:
    """New placements and their good ends in every fleet, then again the same issuers, then heartbeats."""
    issuers = [f"{name}-{number}" for number in range(calls)]
    usec: dict[tuple[int, str], float] = {}

    def run(kind: Kind, request: str) -> None:
        for fleet in fleets:
            commands = fleet.calls(kind, issuers, request)
            usec[fleet.size, kind] = _server_usec(server, commands, MARKERS[kind])

    run("new", "first")
    for fleet in fleets:
        usec[fleet.size, "report"] = _server_usec(server, fleet.reports(server, issuers, "first"), OK)
    time.sleep(_UNCONFIRMED_S)
    run("sticky", "second")
    run("heartbeat", "")
    return usec


def _server_usec(server: RedisServer, commands: Sequence[bytes], marker: bytes) -> float:
    server.call("CONFIG", "RESETSTAT")
    send_all(server.port, commands, marker)
    figures = info(server, "commandstats")["cmdstat_evalsha"]
    assert figures["calls"] == len(commands), figures
    return float(figures["usec_per_call"])


def _throughput(server: RedisServer, plan: Plan) -> dict[str, float]:
    """Calls per second of CPU time with several pipelining clients, all kinds in turn.

    A server that has a core to itself takes as many per second of real time.
    """
    rounds = [
        _throughput_round(server, number, plan.throughput_calls) for number in range(plan.throughput_rounds)
    ]
    return {kind: max(figures[kind] for figures in rounds) for kind in rounds[0]}


def _throughput_round(server: RedisServer, number: int, calls: int) -> dict[str, float]:
    fleet = Fleet(_THROUGHPUT_SIZE, seed=number)
    shares = [[f"many-{number}-{client}-{index}" for index in range(calls)] for client in range(_CLIENTS)]
    ping = calls_per_cpu_s(server, [[PING] * calls] * _CLIENTS, PONG)
    new = calls_per_cpu_s(server, [fleet.calls("new", issuers, "first") for issuers in shares], NEW)
    reports = [fleet.reports(server, issuers, "first") for issuers in shares]
    report = calls_per_cpu_s(server, reports, OK)
    sticky = [fleet.calls("sticky", issuers, "second") for issuers in shares]
    return {"ping": ping, "new": new, "report": report, "sticky": calls_per_cpu_s(server, sticky, STICKY)}


def cost_table(measured: Sequence[Costs]) -> str:
    """Return server time by number of SFUs, engine and kind of call."""
    header = ["server time per call (us)", *(f"{size:,} SFUs" for size in measured[0].sizes), "last / first"]
    rows = [
        [
            f"{_LABELS[kind]}, {costs.engine}",
            *(f"{costs.usec[size, kind]:.0f}" for size in costs.sizes),
            f"{costs.ratio(kind):.2f}",
        ]
        for costs in measured
        for kind in _LABELS
    ]
    return table(header, rows)


def rate_table(measured: Sequence[Costs]) -> str:
    """Return calls per second, pipelined, and how many pings the server would answer in their place."""
    header = ["calls per second of server CPU", *(costs.engine for costs in measured), "pings per call"]
    first = measured[0].per_s
    rows = [
        [
            _LABELS.get(kind, "`PING`"),
            *(f"{costs.per_s[kind]:,.0f}" for costs in measured),
            f"{first['ping'] / first[kind]:.0f}",
        ]
        for kind in first
    ]
    return table(header, rows)


def verdict_table(measured: Sequence[Costs]) -> str:
    """Return whether the targets are met."""
    rows = []
    for costs in measured:
        ratio, rate = costs.ratio("new"), costs.per_s["new"]
        rows += [
            [
                f"{costs.sizes[-1]:,} SFUs cost as much as {costs.sizes[0]}, {costs.engine}",
                f"{ratio:.2f} x",
                f"at most {MAX_COST_RATIO} x",
                _yes(is_met=ratio <= MAX_COST_RATIO),
            ],
            [
                f"new placements per second of server CPU, {costs.engine}",
                f"{rate:,.0f}",
                f"at least {MIN_SELECTS_PER_S:,}",
                _yes(is_met=rate >= MIN_SELECTS_PER_S),
            ],
        ]
    return table(["target", "measured", "wanted", "met"], rows)


def _yes(*, is_met: bool) -> str:
    return "yes" if is_met else "no"


def draw(measured: Sequence[Costs]) -> None:
    """Write the plot."""
    curves = {
        f"{_LABELS[kind]}, {costs.engine}": (
            [float(size) for size in costs.sizes],
            [costs.usec[size, kind] for size in costs.sizes],
        )
        for costs in measured
        for kind in _LABELS
    }
    labels = Labels("What a placement costs Redis", "server time per call (us)", "registered SFUs")
    draw_lines("select-cost", labels, curves, is_log_x=True, marker="o")


def main() -> None:
    """Measure, print, and bring the documentation up to date."""
    quick = is_quick()
    measured = []
    for engine, version in installed_servers().items():
        with running_server(engine) as server:
            measured.append(measure(version, server, QUICK if quick else FULL))
    tables = {
        "select-cost": cost_table(measured),
        "select-rate": rate_table(measured),
        "select-target": verdict_table(measured),
    }
    for name, text in tables.items():
        say(f"{name}\n{text}")
        if not quick:
            publish(name, text)
    if not quick:
        draw(measured)


if __name__ == "__main__":
    main()
