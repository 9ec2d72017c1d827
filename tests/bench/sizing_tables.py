"""The tables of docs/sizing.md, and its calculation on paper, from measured figures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.write_up import table

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
MAX_SFUS_PER_NAMESPACE: Final = 10_000
HEARTBEAT_EVERY_S: Final = 10
REMEMBERED_S: Final = 4 * 3_600
CHANNELS_PER_SFU_S: Final = 1 / 60
KEPT_FREE: Final = 0.5
LEAST_REPLICAS: Final = 2


@dataclass(frozen=True, slots=True)
class Bytes:
    """Memory and keys of one Redis, per SFU and per issuer, with `count` of each."""

    count: int
    sfu: float
    sfu_keys: float
    placement: float
    channel: float
    issuer_keys: float

    @property
    def issuer(self) -> float:
        """What one issuer with a channel takes."""
        return self.placement + self.channel


@dataclass(frozen=True, slots=True)
class RedisRates:
    """Calls per second of a server's CPU; a placement is a select and a report."""

    heartbeat: float
    placement: float


@dataclass(frozen=True, slots=True)
class ReplicaRates:
    """Requests per second of a replica's CPU."""

    noop: float
    heartbeat: float
    channel: float


@dataclass(frozen=True, slots=True)
class Held:
    """What a replica takes that nobody asks."""

    sfus: int
    rss: int
    """The most, in bytes."""
    cpu: float
    """Share of one core."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that was measured in one run."""

    machine: str
    counts: Sequence[Bytes]
    redis: RedisRates
    replica: ReplicaRates
    held: Sequence[Held]
    """By size of the fleet; the last one is of `MAX_SFUS_PER_NAMESPACE`."""
    redis_read: float
    """Share of a core of Redis that one such replica takes by reading the fleet."""


def tables(figures: Figures) -> dict[str, str]:
    """Return each section's text by its name."""
    return {
        "sizing-replica": "\n\n".join((figures.machine, _rates(figures.replica), _held(figures.held))),
        "sizing-redis": "\n\n".join((figures.machine, _bytes(figures.counts), _calls(figures))),
        "sizing-million": _million(figures),
    }


def _rates(rates: ReplicaRates) -> str:
    rows = [
        ["no-op route", f"{rates.noop:,.0f}", "1.0"],
        ["heartbeat (h)", f"{rates.heartbeat:,.0f}", f"{rates.noop / rates.heartbeat:.1f}"],
        ["channel request, new issuer (c)", f"{rates.channel:,.0f}", f"{rates.noop / rates.channel:.1f}"],
    ]
    return table(["one replica", "per second of CPU", "no-ops per request"], rows)


def _held(held: Sequence[Held]) -> str:
    rows = [[f"{each.sfus:,}", f"{each.rss / 2**20:,.0f} MiB", f"{each.cpu:.1%}"] for each in held]
    return table(["SFUs registered, no requests", "most memory (RSS)", "of one core (i)"], rows)


def _bytes(counts: Sequence[Bytes]) -> str:
    def row(name: str, attribute: str, digits: int = 0) -> list[str]:
        return [name, *(f"{getattr(each, attribute):,.{digits}f}" for each in counts)]

    rows = [
        row("bytes per SFU, with its `up` event", "sfu"),
        row("bytes per remembered placement", "placement"),
        row("bytes per channel key", "channel"),
        row("bytes per issuer: both", "issuer"),
        row("keys per SFU", "sfu_keys", 2),
        row("keys per issuer", "issuer_keys", 2),
    ]
    return table(["Redis memory", *(f"{each.count:,} of each" for each in counts)], rows)


def _calls(figures: Figures) -> str:
    rows = [
        ["heartbeats (H) per second of CPU", f"{figures.redis.heartbeat:,.0f}"],
        ["placements (P), each a select and a report, per second of CPU", f"{figures.redis.placement:,.0f}"],
        [f"a replica's reading {figures.held[-1].sfus:,} SFUs, of one core (r)", f"{figures.redis_read:.1%}"],
    ]
    return table(["one Redis", ""], rows)


def _million(figures: Figures) -> str:
    redis, replica, size = figures.redis, figures.replica, figures.counts[-1]
    idle = figures.held[-1].cpu
    text = (
        f"Measured: H = {redis.heartbeat:,.0f}, P = {redis.placement:,.0f}, h = {replica.heartbeat:,.0f}, "
        f"c = {replica.channel:,.0f}, i = {idle:.2f}, r = {figures.redis_read:.2f}; {size.sfu:,.0f} bytes per SFU, "
        f"{size.issuer:,.0f} per issuer.\nAssumed: one channel request per SFU and minute, each of another "
        "issuer.\n\n"
        f"    namespaces = max(up((SFUs / {HEARTBEAT_EVERY_S} / H + SFUs / 60 / P) / {KEPT_FREE}), "
        f"up(SFUs / {MAX_SFUS_PER_NAMESPACE:,}))\n"
        f"    share      = SFUs / namespaces / {MAX_SFUS_PER_NAMESPACE:,}\n"
        f"    issuers    = SFUs / 60 * {REMEMBERED_S:,} s\n"
        f"    memory     = (SFUs * {size.sfu:,.0f} + issuers * {size.issuer:,.0f}) / namespaces\n"
        f"    replicas   = max({LEAST_REPLICAS}, up((SFUs / {HEARTBEAT_EVERY_S} / h + SFUs / 60 / c) / namespaces"
        f" / ({KEPT_FREE} - i * share)))\n"
        f"    busy       = (SFUs / {HEARTBEAT_EVERY_S} / H + SFUs / 60 / P) / namespaces + replicas * r * share"
    )
    header = [
        "SFUs",
        "heartbeats/s",
        "channels/s",
        "namespaces",
        "memory of each",
        "replicas of each",
        "its Redis core busy",
        "replicas in all",
    ]
    return f"{text}\n\n{table(header, [_paper_row(figures, sfus) for sfus in SIZES])}"


def _paper_row(figures: Figures, sfus: int) -> list[str]:
    heartbeats, channels = sfus / HEARTBEAT_EVERY_S, sfus * CHANNELS_PER_SFU_S
    redis, replica, size = figures.redis, figures.replica, figures.counts[-1]
    calls = heartbeats / redis.heartbeat + channels / redis.placement
    namespaces = max(math.ceil(calls / KEPT_FREE), math.ceil(sfus / MAX_SFUS_PER_NAMESPACE))
    share = sfus / namespaces / MAX_SFUS_PER_NAMESPACE
    memory = (sfus * size.sfu + channels * REMEMBERED_S * size.issuer) / namespaces
    requests = (heartbeats / replica.heartbeat + channels / replica.channel) / namespaces
    replicas = max(LEAST_REPLICAS, math.ceil(requests / (KEPT_FREE - figures.held[-1].cpu * share)))
    return [
        f"{sfus:,}",
        f"{heartbeats:,.0f}",
        f"{channels:,.0f}",
        f"{namespaces:,}",
        f"{memory / 2**20:,.0f} MiB",
        f"{replicas:,}",
        f"{calls / namespaces + replicas * figures.redis_read * share:.0%}",
        f"{replicas * namespaces:,}",
    ]
