"""What is wrong with the SFUs of a fleet: from the states and reasons that the scripts derive, no rule of its own."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from app.diagnosis.facts import Bounds, FleetReport, plural
from app.diagnosis.likely import likely_reason
from app.diagnosis.trouble import Cause, Code, Severity, Subject, Trouble
from app.registry.capacity import Capacity
from app.registry.sfus import SfuStatus
from app.upstream.setup_problems import WORDS

_MOST_OF_A_KIND: Final = 5
"""SFUs of a region with the same trouble that are listed one by one."""

_MISSED_BEATS: Final = 2.5
"""Heartbeat intervals without a heartbeat after which an SFU is late: two are missing, with jitter."""

_LOW_HEADROOM: Final = 0.15
"""As the alert SfuGatewayHeadroomLow."""


def examine_fleet(sfus: Sequence[SfuStatus], bounds: Bounds) -> FleetReport:
    """Return what `sfus`, living and lost, show."""
    by_region = defaultdict[str, list[SfuStatus]](list)
    for sfu in sfus:
        by_region[sfu.region].append(sfu)
    troubles = [trouble for sfu in sfus for trouble in _of_sfu(sfu, bounds)]
    living = [sfu for sfu in sfus if sfu.is_living]
    selectable = sum(sfu.is_selectable for sfu in living)
    calls, people = _affected(living)
    return FleetReport(
        troubles=(
            *_folded(troubles),
            *_of_fleet(sfus, living, selectable),
            *(
                trouble
                for region, members in by_region.items()
                for trouble in _of_region(region, members, bounds, elsewhere=selectable)
            ),
        ),
        living=len(living),
        selectable=selectable,
        calls=calls,
        people=people,
    )


def _of_fleet(sfus: Sequence[SfuStatus], living: Sequence[SfuStatus], selectable: int) -> Iterator[Trouble]:
    calls, people = _affected(sfus)
    if all(sfu.state == "signed-off" for sfu in sfus):
        yield Trouble(
            code="fleet_empty",
            severity="error",
            what="No SFU is registered, so no call can be placed.",
            subject=Subject("fleet"),
            command="sfu-gateway events --since 3600",
            cause=Cause(
                likely="no SFU or agent runs, or the gateway refuses its heartbeats (registration.key)"
            ),
        )
    elif selectable == 0:
        states = defaultdict[str, int](int)
        for sfu in sfus:
            states[sfu.state] += sfu.state != "signed-off"
        counted = ", ".join(f"{count} {state}" for state, count in sorted(states.items()) if count)
        yield Trouble(
            code="nothing_selectable",
            severity="error",
            what="No SFU takes a new call.",
            subject=Subject("fleet"),
            command="sfu-gateway sfu list",
            calls=calls,
            people=people,
            cause=Cause(count=len(sfus) - states["signed-off"], likely=f"SFUs: {counted}"),
        )


def _of_region(
    region: str, sfus: Sequence[SfuStatus], bounds: Bounds, *, elsewhere: int
) -> Iterator[Trouble]:
    living = [sfu for sfu in sfus if sfu.is_living]
    calls, people = _affected(living)
    capacity = Capacity()
    capacity.add(living, bounds.limits)
    subject = Subject("region", region, region)
    command = f"sfu-gateway sfu list --region {region}"
    if not any(sfu.is_selectable for sfu in living):
        if elsewhere and not all(sfu.state == "signed-off" for sfu in sfus):
            yield Trouble(
                code="region_empty",
                severity="warning",
                what=f"Region {region} has no SFU that takes a new call: its calls go to other regions.",
                subject=subject,
                command=command,
                calls=calls,
                people=people,
            )
    elif capacity.ratio < _LOW_HEADROOM:
        yield Trouble(
            code="headroom_low",
            severity="warning",
            what=f"Region {region} has room for {plural(int(capacity.free), 'more person', 'more people')}"
            f" ({capacity.ratio:.0%} of what it takes).",
            subject=subject,
            command=command,
            calls=calls,
            people=people,
            cause=Cause(likely="too few SFUs for this many people"),
        )


def _of_sfu(sfu: SfuStatus, bounds: Bounds) -> Iterator[Trouble]:
    yield from _of_state(sfu, bounds)
    if sfu.is_living and sfu.is_shared:
        yield _trouble(
            sfu, "address_shared", "error",
            "Two processes report under this address and key: one name hides two SFUs.",
            likely="two SFUs or agents have the same PUBLIC_IP and PORT, or one is left from an upgrade",
        )  # fmt: skip
    if sfu.is_living and sfu.heartbeat_age_ms > _MISSED_BEATS * bounds.ping_ms:
        yield _trouble(
            sfu, "sfu_late", "warning", "Heartbeats of the SFU are missing.",
            since_ms=sfu.heartbeat_age_ms, likely="a slow or broken network, or an SFU that hangs",
        )  # fmt: skip
    for problem, words in WORDS.items():
        if sfu.is_living and problem in sfu.setup.split():
            yield _trouble(sfu, "sfu_setup", "warning", f"{words}.")


def _of_state(sfu: SfuStatus, bounds: Bounds) -> Iterator[Trouble]:
    match sfu.state:
        case "ejected" | "half-open":
            yield _ejected(sfu, bounds)
        case "lost":
            how = "stopped answering" if sfu.reason == "unreachable" else "stopped sending heartbeats"
            yield _trouble(
                sfu, "sfu_lost", "error", f"The SFU {how} and was given up.",
                since=sfu.down_at, likely=likely_reason(sfu.last_error, sfu.reason),
            )  # fmt: skip
        case "expired":
            yield _trouble(
                sfu, "sfu_silent", "error", "The SFU sends no heartbeats and takes no new calls.",
                since_ms=max(0, sfu.heartbeat_age_ms - bounds.threshold_ms),
                likely="it is down, or cut off from the gateway; no sweeper has ended it yet",
            )  # fmt: skip
        case "signed-off" if sfu.sessions:
            yield _trouble(
                sfu, "sfu_signed_off", "warning", "The SFU signed off while people were in its calls.",
                since=sfu.down_at, command="sfu-gateway events --since 3600",
                likely="it was stopped before it was drained",
            )  # fmt: skip
        case "draining" | "drained" if sfu.sessions and 0 < sfu.drain_until <= sfu.at:
            yield _trouble(
                sfu, "drain_overdue", "warning",
                "The drain's deadline has passed with people still in calls: who joins them now is placed elsewhere.",
                since=sfu.drain_until,
            )  # fmt: skip
        case "full":
            yield _trouble(
                sfu, "sfu_full", "warning",
                f"All {plural(sfu.max_sessions, 'session')} are taken or reserved.",
            )  # fmt: skip
        case "overloaded":
            yield _trouble(sfu, "sfu_overloaded", "warning", _overload(sfu, bounds))
        case "selectable" if sfu.errors:
            is_bad = sfu.errors >= bounds.failure_threshold
            yield _trouble(
                sfu, "sfu_failing", "error" if is_bad else "warning",
                f"The SFU is selectable, and its last {plural(sfu.errors, 'attempt')} created no call.",
                since=sfu.last_error_at, likely=likely_reason(sfu.last_error, "", has_calls=sfu.channels > 0),
                command="sfu-gateway sfu list",
            )  # fmt: skip


def _ejected(sfu: SfuStatus, bounds: Bounds) -> Trouble:
    likely = likely_reason(sfu.last_error, sfu.reason, has_calls=sfu.channels > 0)
    if sfu.reason == "misconfigured":
        return _trouble(
            sfu, "sfu_misconfigured", "error",
            "The SFU refuses requests that are signed with the key it has registered.",
            since=sfu.ejected_since, likely=likely,
        )  # fmt: skip
    if not sfu.failures:  # it was seen last before Redis went away, without the figures
        return _trouble(sfu, "sfu_ejected", "warning", "The SFU has failed requests and is the last resort.")
    is_out_for_long = sfu.state == "ejected" and sfu.failures >= bounds.failure_threshold
    if sfu.state == "half-open":
        next_step = "One request at a time tries it again."
    elif is_out_for_long:
        next_step = f"It is tried again in {max(1, round(sfu.ejected_for_ms / 1000))} s."
    else:
        next_step = "It is back with its next heartbeat."
    return _trouble(
        sfu, "sfu_ejected", "error" if is_out_for_long else "warning",
        f"The SFU failed {plural(sfu.failures, 'request')} in a row that another SFU served. {next_step}",
        since=sfu.ejected_since, likely=likely,
    )  # fmt: skip


def _overload(sfu: SfuStatus, bounds: Bounds) -> str:
    match sfu.reason:
        case "cpu":
            return f"The SFU takes no new calls: CPU {sfu.cpu:.0%} is above {bounds.max_cpu:.0%} (overload.max_cpu)."
        case "memory":
            limit = f"{bounds.max_memory:.0%} (overload.max_memory)"
            return f"The SFU takes no new calls: memory {sfu.memory:.0%} is above {limit}."
        case "":  # it was seen last before Redis went away, without the figures
            return "The SFU takes no new calls: CPU, memory or load is above its limit."
        case _:
            limit = f"{bounds.max_load:g} (overload.max_load)"
            return f"The SFU takes no new calls: load {sfu.load:.2f} is above {limit}."


def _trouble(
    sfu: SfuStatus,
    code: Code,
    severity: Severity,
    what: str,
    *,
    since: int = 0,
    since_ms: int | None = None,
    likely: str = "",
    command: str = "",
) -> Trouble:
    """Make a trouble of an SFU. `since` is by Redis' clock in ms; 0: not known."""
    return Trouble(
        code=code,
        severity=severity,
        what=what,
        subject=Subject("sfu", sfu.address, sfu.region),
        command=command or f"sfu-gateway sfu show {sfu.address}",
        since_ms=since_ms if since_ms is not None else _ago(since, sfu.at),
        calls=sfu.channels,
        people=sfu.sessions,
        cause=Cause(sfu.last_error, _ago(sfu.last_error_at, sfu.at), sfu.errors, likely),
    )


def _ago(then: int, now: int) -> int | None:
    return max(0, now - then) if then and now else None


def _affected(sfus: Iterable[SfuStatus]) -> tuple[int, int]:
    """Return how many calls and people are on `sfus`."""
    counts = [(sfu.channels, sfu.sessions) for sfu in sfus if sfu.state != "signed-off"]
    return sum(calls for calls, _ in counts), sum(people for _, people in counts)


def _folded(troubles: Sequence[Trouble]) -> Iterator[Trouble]:
    """Make one trouble of many SFUs of a region that have the same one."""
    groups = defaultdict[tuple[Code, Severity, str], list[Trouble]](list)
    for trouble in troubles:
        groups[trouble.code, trouble.severity, trouble.subject.region].append(trouble)
    for (code, severity, region), group in groups.items():
        if len(group) <= _MOST_OF_A_KIND:
            yield from group
            continue
        last = min(group, key=lambda each: (each.cause.ago_ms is None, each.cause.ago_ms or 0))
        known = [each.since_ms for each in group if each.since_ms is not None]
        yield Trouble(
            code=code,
            severity=severity,
            what=f"{len(group):,} SFUs. Of one of them: {last.what}",
            subject=Subject("region", region, region),
            command=f"sfu-gateway sfu list --region {region}",
            since_ms=max(known, default=None),
            calls=sum(each.calls for each in group),
            people=sum(each.people for each in group),
            cause=Cause(
                last.cause.last_error,
                last.cause.ago_ms,
                sum(each.cause.count for each in group),
                last.cause.likely,
            ),
        )
