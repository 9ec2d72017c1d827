"""Requests of all kinds as fast as they are answered, a replica against what else could stand in its place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from tests.bench.http_load import Call, drive_hard
from tests.bench.registry_watch import await_registry, store_failures
from tests.bench.requests_of import NOOP, channel_requests, heartbeats
from tests.bench.rig import HTTPX_VARIANT, Rig, Target, sfus
from tests.bench.watching import cpu_s

Kind: TypeAlias = Literal["noop", "heartbeat", "channel", "httpx", "haproxy"]

IN_TURN: Final[tuple[Kind, ...]] = (
    "noop",
    "heartbeat",
    "channel",
    "httpx",
    "haproxy",
    "channel",
    "heartbeat",
    "noop",
)
"""There and back: what slowly changes about the machine touches all alike."""

MOST_CHANNELS_PER_S: Final = 7_000
"""More than a replica creates. Tokens are made for so many, so that no issuer comes twice."""
PATIENT: Final = {"redis__timeout_ms": "2000"}
"""With hundreds in flight on a slow core a reply may be 250 ms old before its turn comes; the replica would take
Redis for lost and place channels from its snapshot, which is something else than what is to be measured."""

_MOST_HTTPX_PER_S: Final = 1_500
_WARM_UP_S: Final = 1


@dataclass(frozen=True, slots=True)
class Load:
    """How a replica is asked."""

    in_flight: int
    sfus: int


@dataclass(frozen=True, slots=True)
class Rate:
    """What one process did."""

    per_cpu_s: float
    """Successes per second of its own CPU: what it does in a second with a core to itself."""
    per_s: float
    """Successes per second of real time, with whatever else ran on the machine."""
    failed: int = 0
    """Answers without success, and broken connections."""
    store_failures: int = 0
    """How often Redis did not serve the replica; from then on it placed channels without it."""


Rates: TypeAlias = dict[Kind, Rate]


def best_of(rates: Sequence[Rate]) -> Rate:
    """Return the best figure of some rounds: what else a machine does only ever slows it down.

    Rounds in which Redis was lost are out, unless there are no others.
    """
    whole = [rate for rate in rates if rate.store_failures == 0] or rates
    return Rate(
        max(rate.per_cpu_s for rate in whole),
        max(rate.per_s for rate in whole),
        sum(rate.failed for rate in rates),
        min(rate.store_failures for rate in rates),
    )


def mean_of(rates: Sequence[Rate]) -> Rate:
    """Return the average of some rounds of equal length: what a replica does beside, it does in some of them."""
    return Rate(
        sum(rate.per_cpu_s for rate in rates) / len(rates),
        sum(rate.per_s for rate in rates) / len(rates),
        sum(rate.failed for rate in rates),
        sum(rate.store_failures for rate in rates),
    )


def measure_rates(rig: Rig, load: Load, seconds: int, rounds: int) -> Rates:
    """Measure all kinds in turn, each on a namespace of its own below one Redis."""
    addresses = sfus(load.sfus, rig.stand_in())
    names = {kind: f"{kind}-{load.in_flight}-{load.sfus}" for kind in ("channel", "httpx")}
    for name in names.values():
        rig.register(name, addresses)
    gateway = rig.replica(names["channel"], **PATIENT)
    variant = rig.replica(names["httpx"], HTTPX_VARIANT, **PATIENT)
    targets: dict[Kind, Target | None] = {
        "noop": gateway,
        "heartbeat": gateway,
        "channel": gateway,
        "httpx": variant,
        "haproxy": rig.haproxy(addresses),
    }
    known = heartbeats(addresses)
    taken: dict[Kind, list[Rate]] = {kind: [] for kind, target in targets.items() if target}
    for kind, target in targets.items():
        if target:
            rate_of(target, _calls(kind, _WARM_UP_S, known), _WARM_UP_S, load.in_flight)
    for kind in IN_TURN * rounds:
        if target := targets[kind]:
            taken[kind].append(rate_of(target, _calls(kind, seconds, known), seconds, load.in_flight))
    return {kind: best_of(rates) for kind, rates in taken.items()}


def _calls(kind: Kind, seconds: int, known: Sequence[Call]) -> Sequence[Call]:
    if kind == "noop":
        return NOOP
    if kind == "heartbeat":
        return known
    if kind == "haproxy":  # knows no issuers
        return [Call("GET", "/v1/channel")]
    per_s = MOST_CHANNELS_PER_S if kind == "channel" else _MOST_HTTPX_PER_S
    return channel_requests(per_s * seconds)


def rate_of(target: Target, calls: Sequence[Call], seconds: int, in_flight: int) -> Rate:
    """Measure one kind of request on one process; a replica that has lost Redis gets time to find it again."""
    if target.is_gateway:
        await_registry(target.url)
    lost_before = _store_failures(target)
    before = cpu_s(target.pid)
    done = drive_hard(target.url, calls, seconds, in_flight)
    took = cpu_s(target.pid) - before
    good = max(0, done.answered - done.failed)
    return Rate(good / took, good / done.seconds, done.failed, _store_failures(target) - lost_before)


def _store_failures(target: Target) -> int:
    return store_failures(target.url) if target.is_gateway else 0


def channel_rate(target: Target, seconds: int, in_flight: int) -> Rate:
    """Measure new placements on one replica.

    Raises:
        AssertionError: it was so fast that issuers came twice, and were no new placements any more.
    """
    calls = channel_requests(MOST_CHANNELS_PER_S * seconds)
    rate = rate_of(target, calls, seconds, in_flight)
    assert rate.per_s < MOST_CHANNELS_PER_S, rate
    return rate
