"""The checks of `sfu-gateway doctor`: Redis serves, keeps its data and is swept, and the clocks agree.

Each check asks one question. A check whose command Redis refuses becomes a warning, and the other checks go on.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisError, ResponseError

from app.errors import RegistryUnavailable
from app.registry.policy import Policy
from app.registry.registry import Registry
from app.registry.scripts import RedisClient
from app.registry.shipped_scripts import shipped_scripts
from app.registry.trouble import trouble_of, where
from app.settings.model import Settings
from app.upstream.addresses import AddressGuard
from app.upstream.client import Forwarder, ForwardError
from app.upstream.clocks import seconds_of

OLDEST_REDIS: Final = (6, 2)
SLOW_MS: Final = 10.0
SKEW_WARNING_S: Final = 2.0
SKEW_ERROR_S: Final = 20.0
"""Odoo's tokens live 30 s; a gateway whose clock is off by most of that refuses good ones."""

_GATEWAY_TIMEOUT_S: Final = 5.0
_PINGS: Final = 20
_FULL: Final = 0.9


class Severity(IntEnum):
    """How bad a finding is; `doctor` exits with the worst."""

    OK = 0
    WARNING = 10
    ERROR = 11


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, and what to do about it."""

    check: str
    severity: Severity
    found: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """The Redis to examine, and the settings."""

    client: RedisClient
    registry: Registry
    settings: Settings
    clock: Callable[[], float] = time.time

    async def info(self, section: str) -> dict[str, Any]:
        """Return a section of `INFO`, in a Cluster that of the node that has this fleet."""
        return dict(await self.ask("INFO", section))

    async def ask(self, *words: str | int) -> Any:
        """Return the reply to a command, in a Cluster of the node that has this fleet."""
        if isinstance(self.client, RedisCluster):
            await self.client.initialize()
            node = self.client.get_node_from_key(self.registry.keys.prefix)
            return await self.client.execute_command(*words, target_nodes=node)
        return await self.client.execute_command(*words)  # type: ignore[no-untyped-call]


Check = Callable[[Patient], Awaitable[Finding]]


async def examine(patient: Patient) -> AsyncIterator[Finding]:
    """Yield what each check found. When Redis does not answer, that is the only finding."""
    try:
        yield await latency(patient)
    except (RegistryUnavailable, RedisError, OSError) as error:
        trouble = trouble_of(error)
        yield Finding("redis", Severity.ERROR, f"{where(patient.settings.redis)}: {trouble}", trouble.fix)
        return
    for check in (version, writes, persistence, eviction, memory, scripts, sweeper, orphans, clock_skew):
        yield await _guarded(check, patient)


async def unfitness(patient: Patient, denied: set[str]) -> list[Finding]:
    """Return what makes a Redis that answers unfit, by checks that cost little; and clocks that differ.

    Checks that this user may not run are added to `denied` and not tried again: `ACL LOG` would fill with them.
    """
    unfit = []
    for check, least in ((clock_skew, Severity.WARNING), *((each, Severity.ERROR) for each in _CHEAP)):
        if check.__name__ in denied:
            continue
        try:
            finding = await check(patient)
        except (RegistryUnavailable, RedisError, OSError) as error:
            if trouble_of(error).code == "noperm":
                denied.add(check.__name__)
            continue
        if finding.severity >= least:
            unfit.append(finding)
    return unfit


async def _guarded(check: Check, patient: Patient) -> Finding:
    name = check.__name__.replace("_", " ")
    try:
        return await check(patient)
    except (RegistryUnavailable, RedisError, OSError) as error:
        trouble = trouble_of(error)
        fix = (
            "let this user run the command, or ask as another one"
            if trouble.code == "noperm"
            else trouble.fix
        )
        return Finding(name, Severity.WARNING, f"could not be asked: {trouble}", fix)


async def latency(patient: Patient) -> Finding:
    """Compare the time of round trips, without that of connecting, with the time of a call (`redis.timeout_ms`)."""
    await patient.registry.ping()
    times = []
    for _ in range(_PINGS):
        started = time.perf_counter()
        await patient.registry.ping()
        times.append((time.perf_counter() - started) * 1000)
    typical, worst = statistics.median(times), max(times)
    found = f"{typical:.2f} ms, {worst:.2f} ms at worst"
    most = patient.settings.redis.timeout_ms / 2
    if typical > most:
        return Finding("latency", Severity.ERROR, found, "bring Redis nearer, or raise redis.timeout_ms")
    if typical > SLOW_MS or worst > most:
        return Finding("latency", Severity.WARNING, found, "bring Redis nearer: each channel takes two calls")
    return Finding("latency", Severity.OK, found)


async def version(patient: Patient) -> Finding:
    """Scripts need Redis 6.2, or any Valkey, which calls itself at least 7.2."""
    server = await patient.info("server")
    name = str(server.get("server_name", "redis"))
    text = str(server.get(f"{name}_version", server["redis_version"]))
    speaks = tuple(int(part) for part in str(server["redis_version"]).split(".")[:2])
    if speaks < OLDEST_REDIS:
        oldest = ".".join(map(str, OLDEST_REDIS))
        return Finding("version", Severity.ERROR, f"{name} {text}", f"update to {oldest} or newer")
    return Finding("version", Severity.OK, f"{name} {text}")


async def writes(patient: Patient) -> Finding:
    """A Redis that refuses writes answers all else: it is read-only, lacks replicas, disk space or memory."""
    try:
        await patient.ask("SET", patient.registry.keys.doctor, "", "XX")
    except RedisError as error:
        trouble = trouble_of(error)
        if trouble.code == "noperm":
            raise
        return Finding("writes", Severity.ERROR, str(trouble), trouble.fix)
    return Finding("writes", Severity.OK, "taken")


async def persistence(patient: Patient) -> Finding:
    """Heartbeats rebuild the fleet within seconds; where calls are and what drains is in Redis alone."""
    state = await patient.info("persistence")
    has_log = bool(state.get("aof_enabled"))
    saves = await patient.ask("CONFIG", "GET", "save")
    has_snapshots = bool(_value(saves))
    if "err" in (state.get("rdb_last_bgsave_status"), has_log and state.get("aof_last_write_status")):
        return Finding(
            "persistence", Severity.ERROR, "the last write to disk failed",
            "free disk space, see Redis' log; Redis refuses writes meanwhile",
        )  # fmt: skip
    if not has_log and not has_snapshots:
        return Finding(
            "persistence", Severity.WARNING, "off: a restart forgets where calls are and what drains",
            "set appendonly yes",
        )  # fmt: skip
    return Finding("persistence", Severity.OK, "append-only file" if has_log else "snapshots")


async def eviction(patient: Patient) -> Finding:
    """An eviction policy takes living SFUs and calls away when memory runs out."""
    policy = str((await patient.info("memory")).get("maxmemory_policy", "noeviction"))
    if policy == "noeviction":
        return Finding("eviction", Severity.OK, policy)
    return Finding(
        "eviction", Severity.ERROR, f"{policy}: a full Redis forgets SFUs and calls",
        "set maxmemory-policy noeviction",
    )  # fmt: skip


async def memory(patient: Patient) -> Finding:
    """A full Redis refuses writes: no heartbeat, no placement."""
    state = await patient.info("memory")
    used, limit = int(state["used_memory"]), int(state.get("maxmemory", 0))
    found = f"{used / 2**20:.1f} MiB used" + (f" of {limit / 2**20:.0f}" if limit else ", no limit")
    if limit and used > _FULL * limit:
        return Finding("memory", Severity.ERROR, found, "raise maxmemory")
    return Finding("memory", Severity.OK, found)


async def scripts(patient: Patient) -> Finding:
    """Redis compiles every script that is shipped."""
    shipped = shipped_scripts(Policy.from_settings(patient.settings))
    for script in shipped:
        try:
            await patient.client.script_load(script.text)
        except ResponseError as error:
            return Finding(
                "scripts", Severity.ERROR, f"{script.name}.lua: {str(error)[:80]}",
                "let this user run SCRIPT LOAD and EVALSHA; else it is a defect, report it",
            )  # fmt: skip
    return Finding("scripts", Severity.OK, f"{len(list(shipped))} load")


async def sweeper(patient: Patient) -> Finding:
    """Without a sweeper no SFU goes down, no breaker closes and no event is published."""
    if await patient.ask("EXISTS", patient.registry.keys.sweeper):
        return Finding("sweeper", Severity.OK, "one leads")
    return Finding("sweeper", Severity.ERROR, "none leads", "run sfu-gateway sweep, better two")


async def orphans(patient: Patient) -> Finding:
    """Index entries without an SFU. A sweeper removes them within a second."""
    found = await _orphans(patient)
    if found:
        await asyncio.sleep(1)
        found &= await _orphans(patient)
    if not found:
        return Finding("orphans", Severity.OK, "none")
    return Finding(
        "orphans", Severity.ERROR, f"{len(found)} index entries without an SFU, such as {min(found)}",
        "run a sweeper; if one runs, see its log",
    )  # fmt: skip


async def _orphans(patient: Patient) -> set[str]:
    keys, fleet = patient.registry.keys, await patient.registry.fleet.sfus()
    alive = {sfu.address for sfu in fleet if sfu.is_living}
    regions = {sfu.region for sfu in fleet}
    indexes = (keys.load, keys.round_robin, keys.ejected, keys.overloaded)
    names = [keys.deadlines, *(index(region) for region in (None, *regions) for index in indexes)]
    entries: set[str] = set()
    for name in names:
        entries.update([address async for address, _ in patient.client.zscan_iter(name)])
    return entries - alive


async def clock_skew(patient: Patient) -> Finding:
    """Placement goes by Redis' clock alone; tokens go by this machine's."""
    before = patient.clock()
    seconds, microseconds = await patient.ask("TIME")
    skew = patient.clock() / 2 + before / 2 - int(seconds) - int(microseconds) / 1e6
    return _skew("clock skew", skew, "Redis")


async def gateway_clock(url: str, clock: Callable[[], float] = time.time) -> Finding:
    """Compare with the `Date` of a gateway's answer, which has no parts of seconds."""
    try:
        async with Forwarder(AddressGuard(allow_link_local=True)) as client:
            answer = await client.request("GET", url.rstrip("/"), "/livez", _GATEWAY_TIMEOUT_S)
    except ForwardError as error:
        return Finding("gateway clock", Severity.WARNING, f"{url} {error}", "give --gateway its base URL")
    said = seconds_of(answer.date)
    if said is None:
        return Finding("gateway clock", Severity.WARNING, f"{url} sends no Date", "ask a replica itself")
    return _skew("gateway clock", clock() - said - 0.5, "the gateway")


def _skew(check: str, ahead_s: float, other: str) -> Finding:
    found = f"this machine is {abs(ahead_s):.2f} s {'ahead of' if ahead_s >= 0 else 'behind'} {other}"
    if abs(ahead_s) > SKEW_ERROR_S:
        return Finding(check, Severity.ERROR, found, "run NTP on both: tokens expire too early or late")
    if abs(ahead_s) > SKEW_WARNING_S:
        return Finding(check, Severity.WARNING, found, "run NTP on both")
    return Finding(check, Severity.OK, found)


_CHEAP: Final[Sequence[Check]] = (version, persistence, eviction, memory)


def _value(reply: Any) -> str:
    """The value in a reply to `CONFIG GET` of one name, in either protocol."""
    if isinstance(reply, dict):
        return next((str(value) for value in reply.values()), "")
    return str(reply[1]) if reply else ""
