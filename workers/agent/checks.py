"""What is checked before an SFU joins: by itself at start, or shown by `sfu-gateway agent --check`.

A wrong AUTH_KEY, and an address that the gateway cannot reach, keep the SFU out: it would be listed as healthy, the
least loaded of all, and no call to it could succeed.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from app.upstream.client import ForwardError
from workers.agent.sfu import Finding, LocalSfu, WrongKey
from workers.gateway_link import HeartbeatFailed
from workers.heartbeats import Heartbeats

_NO_CHECKS: Final = "invalid_field"
"""The code with which a gateway refuses that does not know `status: "check"`; it has accepted the credentials."""


async def check_gateway(heartbeats: Heartbeats, address: str) -> None:
    """Have a gateway check the credentials, the clock, the address and the key. Raises `HeartbeatFailed`."""
    try:
        reply = await heartbeats.check()
    except HeartbeatFailed as error:
        if error.code == _NO_CHECKS:
            return
        raise
    problem = problem_in(reply, address)
    if problem:
        raise HeartbeatFailed(problem)


def problem_in(reply: Any, address: str) -> str:
    """Return what the gateway's reply to a check says against `address`; empty when there is nothing."""
    checks = reply.get("checks") if isinstance(reply, dict) else None
    if not isinstance(checks, dict):
        return ""
    if checks.get("reachable") is False:
        return (
            f"the gateway cannot reach the SFU at {address}: set SFU_ADDRESS to an address that it can reach"
        )
    ahead_s = checks.get("clockAheadSeconds")
    if checks.get("keyAccepted") is False and isinstance(ahead_s, int):
        direction = "ahead of" if ahead_s > 0 else "behind"
        return (
            f"the SFU at {address} refuses what the gateway signs, and its clock is {abs(ahead_s)} s {direction} the "
            "gateway's: run NTP on both"
        )
    if checks.get("keyAccepted") is False:
        return (
            f"the gateway reaches another SFU at {address}, or one with another key: "
            "AUTH_KEY is not the key of who answers there"
        )
    return ""


async def check_all(
    sfu: LocalSfu, heartbeats: Heartbeats, measure: Callable[[], Any], address: str
) -> AsyncIterator[Finding]:
    """Check everything once, in the order in which one thing needs another; nothing gets registered."""
    try:
        await measure()
        yield Finding("SFU")
        clock = await sfu.check_key()
        yield Finding("AUTH_KEY")
        yield clock
        for finding in await sfu.check_setup():
            yield finding
    except WrongKey as error:
        yield Finding("AUTH_KEY", str(error))
    except (ForwardError, HeartbeatFailed) as error:
        yield Finding("SFU", str(error))
    try:
        await check_gateway(heartbeats, address)
    except HeartbeatFailed as error:
        yield Finding("gateway", str(error))
    else:
        yield Finding("gateway")
