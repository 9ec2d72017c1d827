"""What is wrong, from facts: a pure function. The states of SFUs are the scripts', the findings the doctor's."""

from collections.abc import Iterator
from typing import Final

from app import errors
from app.diagnosis.facts import Facts, FleetReport, ReplicaFacts, plural
from app.diagnosis.trouble import Cause, Subject, Trouble, worst_first
from app.registry.examination import Finding, Severity
from app.registry.signs import Signs

_LONGEST_LAG_MS: Final = 30_000
"""As the alert SfuGatewayNotSwept."""

_RECENT_FAILURE_MS: Final = 600_000
_FAILED_SHARE: Final = 0.01
"""As the alert SfuGatewayChannelsFail."""

_FAILURES: Final = frozenset(
    kind.code
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.GatewayError) and kind.status >= 500
)
"""Codes of problems that are not the caller's."""


def diagnose(facts: Facts) -> list[Trouble]:
    """Return what is wrong, the worst first; empty when nothing is."""
    troubles = [*_of_redis(facts)]
    if facts.fleet is not None:
        troubles += facts.fleet.troubles
    if facts.signs is not None:
        troubles += _of_signs(facts.signs, facts)
    if facts.replica is not None:
        troubles += _of_replica(facts.replica, facts)
    troubles += (_of_finding(finding, facts) for finding in facts.findings if finding.severity > Severity.OK)
    return worst_first(troubles)


def _of_redis(facts: Facts) -> Iterator[Trouble]:
    redis, replica, fleet = facts.redis, facts.replica, facts.fleet or FleetReport()
    if redis is None:
        return
    if replica is None:
        served = "Calls that run go on."
    elif replica.snapshot_size:
        served = f"This replica places calls on the {plural(replica.snapshot_size, 'SFU')} that it saw last."
    else:
        served = "This replica has not seen the fleet and refuses every call."
    yield Trouble(
        code="redis_refuses" if redis.answers else "redis_away",
        severity="error",
        what=f"{redis}. {served}",
        subject=Subject("redis", facts.redis_name),
        command="sfu-gateway doctor",
        since_ms=replica.mode_for_ms if replica else None,
        calls=fleet.calls,
        people=fleet.people,
        cause=Cause(last_error=redis.code, likely=redis.fix),
    )


def _of_signs(signs: Signs, facts: Facts) -> Iterator[Trouble]:
    fleet = facts.fleet or FleetReport()
    held_for = signs.expiry_suspended_until - signs.at
    if held_for > 0:
        yield Trouble(
            code="mass_expiry",
            severity="error",
            what=f"Most SFUs are silent at once. None is given up for {held_for / 1000:.0f} s: "
            "the network or Redis is the suspect.",
            subject=Subject("fleet"),
            command="sfu-gateway events --since 3600",
            since_ms=max(0, facts.bounds.threshold_ms - held_for),
            calls=fleet.calls,
            people=fleet.people,
            cause=Cause(likely="what all SFUs share: a proxy, a firewall, DNS, registration.key"),
        )
    lag_ms = signs.at - signs.unpublished_since if signs.unpublished_since else 0
    if not signs.is_swept:
        yield Trouble(
            code="sweeper_missing",
            severity="error",
            what="No sweeper runs: silent SFUs are not given up, ejected SFUs are not probed, no event is published.",
            subject=Subject("sweeper"),
            command="sfu-gateway doctor",
            since_ms=lag_ms if signs.unpublished_since else None,
            cause=Cause(likely="no sfu-gateway sweep process runs, or none reaches Redis"),
        )
    elif lag_ms > _LONGEST_LAG_MS:
        yield Trouble(
            code="sweeper_behind",
            severity="warning",
            what="The sweeper does not keep up: events wait to be published.",
            subject=Subject("sweeper"),
            command="sfu-gateway doctor",
            since_ms=lag_ms,
            cause=Cause(likely="the sweeper hangs, or Redis is slow"),
        )
    if not signs.is_read and facts.replica is None:
        yield Trouble(
            code="replica_missing",
            severity="error",
            what="No replica of the gateway has read the fleet for a minute.",
            subject=Subject("replica"),
            command="sfu-gateway healthcheck",
            cause=Cause(likely="no replica runs, or none reaches this Redis and namespace"),
        )
    failed_ago = signs.at - signs.rescue_failed_at
    if signs.rescue_failed_at and failed_ago < _RECENT_FAILURE_MS:
        yield Trouble(
            code="rescue_failing",
            severity="error",
            what="Calls lost their SFU, and their Odoo did not move them.",
            subject=Subject("sweeper"),
            command="sfu-gateway events --since 3600",
            since_ms=failed_ago,
            cause=Cause(
                ago_ms=failed_ago,
                count=signs.rescue_failed,
                likely="Odoo does not answer the sweeper, or refuses it; the sweeper's log says how (calls_told)",
            ),
        )


def _of_replica(replica: ReplicaFacts, facts: Facts) -> Iterator[Trouble]:
    subject = Subject("replica", replica.name)
    if replica.mode == "recovering":
        yield Trouble(
            code="replica_recovering",
            severity="warning",
            what="This replica places calls from what it saw last until every SFU has reported to Redis again.",
            subject=subject,
            command="sfu-gateway doctor",
            since_ms=replica.mode_for_ms,
            cause=Cause(likely="Redis was away or has lost its data, or most SFUs are silent"),
        )
    failures = {code: count for code, count in replica.outcomes.items() if code in _FAILURES}
    failed, asked = sum(failures.values()), replica.outcomes.total()
    if failed > _FAILED_SHARE * asked:
        code = max(failures, key=lambda each: failures[each])
        yield Trouble(
            code="channels_refused",
            severity="error",
            what=f"This replica served {asked - failed} of {plural(asked, 'channel request')} in the last minute.",
            subject=subject,
            command="sfu-gateway explain",
            cause=Cause(last_error=code, count=failed, likely=_WHY_REFUSED.get(code, "")),
        )
    refused = replica.refused_heartbeats
    if refused:
        [(code, _)] = refused.most_common(1)
        yield Trouble(
            code="heartbeats_refused",
            severity="warning",
            what=f"This replica refused {plural(refused.total(), 'heartbeat')} in the last minute.",
            subject=subject,
            command="sfu-gateway sfu list",
            cause=Cause(last_error=code, count=refused.total(), likely=_WHY_NO_HEARTBEAT.get(code, "")),
        )


_WHY_NO_HEARTBEAT: Final = {
    "credentials_missing": "the SFU or agent has no registration.key",
    "credentials_invalid": "another registration.key, or a clock that is off",
    "credentials_expired": "a clock that is off",
    "address_leased": "two SFUs say they have one address, with different keys",
    "address_not_allowed": "the address is outside registration.allow",
    "invalid_field": "a value in the heartbeat; the replica's log names the field",
    "rate_limited": "something sends too often",
    "closed": "registration.key is not set on the gateway",
}

_WHY_REFUSED: Final = {
    "no_sfu": "no SFU is registered and healthy where these calls may go",
    "overloaded": "all SFUs are at capacity, or this replica is",
    "all_failed": "every SFU that was asked failed",
    "deadline": "SFUs answer too slowly",
    "refused_by_sfu": "the SFUs refuse these requests: AUTH_KEY, or the request",
    "replica_fault": "this replica's resolver, network, file descriptors or sealing keys",
    "store_unavailable": "Redis is away, and this replica has not seen the fleet",
    "internal": "a defect; this replica's log has the traceback",
}


def _of_finding(finding: Finding, facts: Facts) -> Trouble:
    is_clock = finding.check == "clock skew"
    host = facts.replica.name if facts.replica else ""
    what = f"Clocks differ: {finding.found}." if is_clock else f"Redis, {finding.check}: {finding.found}."
    return Trouble(
        code="clock_differs" if is_clock else "redis_unfit",
        severity="error" if finding.severity == Severity.ERROR else "warning",
        what=what,
        subject=Subject("replica", host) if is_clock else Subject("redis", facts.redis_name),
        command="sfu-gateway doctor",
        cause=Cause(likely=finding.fix),
    )
