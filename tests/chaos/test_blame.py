"""R28, R34, R36: SFUs that answer badly or late, and requests that every SFU rejects."""

import asyncio
from typing import Any, Final, Literal

import pytest

from tests.chaos.conftest import start
from tests.chaos.load import Answers, Load
from tests.chaos.rows import Row, Scale
from tests.chaos.test_redis_away import ask_all, places
from tests.chaos.test_sfus import channel_requests, urls
from tests.journeys.deployment import Deployment, Replica, RunningFleet
from tests.support.ports import free_port
from tests.support.waiting import eventually

DEADLINE_MS: Final = 2_500
STATUSES: Final = (400, 402, 403, 404, 405, 409, 410, 413, 421, 422, 426, 429, 501, 502, 503, 504)

Place = Literal["beside others", "alone in its region", "beside drained and full ones"]


def _status(status: int) -> dict[str, Any]:
    return {"fault": "status", "status": status, "route": "/v1/channel"}


FAULTS: Final[dict[str, dict[str, Any]]] = {
    "answered 401": _status(401),
    "answered 500 to /v1/channel": {"fault": "wrong-key"},
    "s ahead of the gateway's": {"fault": "clock", "seconds_ahead": 3_600},
    "cannot be reached: the connection ended": {"fault": "reset", "route": "/v1/channel"},
    **{f"answered {status}": _status(status) for status in STATUSES},
}
"""By what health says of them. The first four, one of each kind, are tried in short runs, too."""


async def _set_fault(fleet: RunningFleet, address: str, fault: dict[str, Any]) -> None:
    await asyncio.to_thread(fleet.control, address, "fault", fault)


async def _admin(replica: Replica, action: str, address: str) -> None:
    answer = await asyncio.to_thread(replica.admin, action, address=address)
    assert answer.status_code == 200, answer.text


def _ejected(replica: Replica) -> list[str]:
    """What `/v1/health` shows of SFUs that are out by failures."""
    return [
        f"{sfu['address']} {sfu['status']} {sfu['breaker']}"
        for sfu in replica.health()["sfus"]
        if sfu["status"] != "up" or sfu["breaker"] != "closed"
    ]


@pytest.mark.parametrize(
    "place",
    [
        "beside others",
        "alone in its region",
        "beside drained and full ones",
    ],
)
async def test_an_sfu_that_answers_with_any_error_fails_no_request(
    deployment: Deployment, scale: Scale, place: Place
) -> None:
    row = Row(
        f"R28 ({place})",
        "one SFU answers any 4xx, any 5xx, has a wrong key or a clock that is off, or resets",
        "0 failed requests; at most 6 tries at it until it changes; its state and reason are shown",
    )
    faults = list(FAULTS.items())[: scale.count(len(FAULTS), 4)]
    names = [f"region-{number}" for number in range(len(faults))]
    regions = [*names, "eu-west", "eu-west"] if place == "alone in its region" else ["eu-west"]
    options = ("--regions", ",".join(regions))
    replicas, fleet = start(deployment, replicas=2, sfus=len(faults) + 2, options=options)
    *victims, full, _healthy = fleet.addresses
    if place == "beside drained and full ones":
        figures = {"channels": 250_000, "sessions": 1_000_000, "cpuUsage": 0.5, "memoryUsage": 0.5}
        await asyncio.to_thread(fleet.control, full, "figures", figures)
        for victim in victims:
            await _admin(replicas[0], "drain", victim)
    answers, tries, unexplained = Answers(), 0, list[str]()
    for victim, region, (reason, fault) in zip(victims, names, faults, strict=True):
        if place == "beside drained and full ones":
            await _admin(replicas[0], "resume", victim)
        await _set_fault(fleet, victim, fault)
        before = await channel_requests(fleet, victim)
        suffix = f"/r/{region}" if place == "alone in its region" else ""
        name = f"https://odoo.example:channel:{region}-{{}}".format
        async with Load([url + suffix for url in urls(replicas)], 50, name).running() as load:
            await asyncio.sleep(scale.seconds(10, 2))
        answers.all.extend(load.answers.all)
        asked = await channel_requests(fleet, victim) - before
        tries = max(tries, asked)
        if asked and not await asyncio.to_thread(_is_explained, replicas[1], victim, reason):
            unexplained.append(reason)
        if place == "beside drained and full ones":
            await _admin(replicas[0], "drain", victim)
        await _set_fault(fleet, victim, {"fault": "none"})
    figure = (
        f"{len(answers.failed)} of {len(answers.all)} failed ({answers.statuses()}); "
        f"at most {tries} tries at it; {len(unexplained)} of {len(faults)} without a reason in /v1/health"
    )
    kept = not answers.failed and not unexplained
    row.record(figure, kept=kept and tries <= 6, required=kept)


def _is_explained(replica: Replica, address: str, reason: str) -> bool:
    """Whether health says what the SFU's last attempt met, or that it has served since."""
    sfu = next(sfu for sfu in replica.health()["sfus"] if sfu["address"] == address)
    is_out = sfu["state"] in ("ejected", "half-open") and sfu["reason"] in ("failed", "misconfigured")
    return reason in sfu["lastError"] and (is_out or sfu["state"] == "selectable")


@pytest.mark.parametrize("where", ["nobody listens", "no such name", "no TLS"])
async def test_an_sfu_at_an_address_that_nobody_can_use_fails_no_request(
    deployment: Deployment, scale: Scale, where: str
) -> None:
    row = Row(
        f"R28 (unusable address: {where})",
        "one SFU reports an address where nobody listens, a name that does not exist, https where http is spoken",
        "0 failed requests; at most 6 tries at it until it changes; its state and reason are shown",
    )
    replicas, fleet = start(deployment, replicas=2, sfus=2)
    address, reason = {
        "nobody listens": (f"http://127.0.0.1:{free_port()}", "connection refused"),
        "no such name": ("http://sfu.does-not-exist.invalid:8070", "its name "),
        "no TLS": (fleet.addresses[0].replace("http:", "https:"), "TLS: wrong version number"),
    }[where]
    beating = asyncio.create_task(_beat(replicas[0], address, fleet.key_of(fleet.addresses[0])))
    try:
        await eventually(lambda: asyncio.to_thread(lambda: replicas[1].selectable() == 3), timeout_seconds=15)
        async with Load(urls(replicas), 50).running() as load:
            await asyncio.sleep(scale.seconds(20, 7))
        is_explained = await asyncio.to_thread(_is_explained, replicas[1], address, reason)
    finally:
        beating.cancel()
    lines = "".join(replica.process.output for replica in replicas).splitlines()
    tries = sum('"event": "sfu_failed"' in line and f'"{address}"' in line for line in lines)
    figure = (
        f"{len(load.answers.failed)} of {len(load.answers.all)} failed ({load.answers.statuses()}); {tries} tries "
        f"at it; its reason is {'' if is_explained else 'not '}in /v1/health"
    )
    kept = not load.answers.failed and is_explained
    is_blamed = tries < len(load.answers.all) / 2 or where == "no such name"  # nobody is, without a resolver
    row.record(figure, kept=kept and tries <= 6, required=kept and is_blamed)


async def _beat(replica: Replica, address: str, key: str) -> None:
    """Report an SFU that is idle, every second."""
    figures = {"channels": 0, "sessions": 0, "cpuUsage": 0, "memoryUsage": 0}
    while True:
        await asyncio.to_thread(replica.heartbeat, address, key, **figures)
        await asyncio.sleep(1)


async def test_requests_that_every_sfu_rejects_eject_nobody(deployment: Deployment, scale: Scale) -> None:
    row = Row(
        "R34",
        "requests that every SFU rejects, in every way",
        "nobody ejected; each answered within the deadline",
    )
    replicas, fleet = start(deployment, replicas=2, sfus=4)
    ways: list[dict[str, Any]] = [
        *map(_status, (400, 401, 404, 422, 500, 503)),
        {"fault": "garbage", "route": "/v1/channel"},
        {"fault": "no-uuid", "route": "/v1/channel"},
        {"fault": "reset", "route": "/v1/channel"},
        {"fault": "hang", "route": "/v1/channel"},
    ]
    answers, ejected = Answers(), list[str]()
    for number, fault in enumerate(ways):
        for address in fleet.addresses:
            await _set_fault(fleet, address, fault)
        name = f"https://odoo.example:channel:{number}-{{}}".format
        async with Load(urls(replicas), scale.count(50, 25), name).running() as load:
            await asyncio.sleep(scale.seconds(3, 1))
        answers.all.extend(load.answers.all)
        ejected += await asyncio.to_thread(_ejected, replicas[0])
    unanswered = [answer for answer in answers.all if answer.status == 0]
    slowest = answers.latency_ms(1)
    figure = f"{len(answers.all)} requests ({answers.statuses()}); {len(ejected)} ejected; slowest {slowest:.0f} ms"
    kept = not ejected and not unanswered
    row.record(figure, kept=kept and slowest <= DEADLINE_MS + 100, required=kept)


@pytest.mark.parametrize(("sfus", "delay_ms"), [(1, 2_000), (3, 1_500)])
async def test_sfus_slower_than_their_share_of_the_deadline_fail_no_request(
    deployment: Deployment, scale: Scale, sfus: int, delay_ms: int
) -> None:
    row = Row(
        f"R36 ({sfus} of {sfus} SFUs need {delay_ms} ms)",
        "SFUs slower than their share of the deadline, but within it",
        "0 failed requests; nobody ejected",
    )
    replicas, fleet = start(deployment, replicas=2, sfus=sfus)
    for address in fleet.addresses:
        await _set_fault(fleet, address, {"fault": "delay", "ms": delay_ms, "route": "/v1/channel"})
    async with Load(urls(replicas), 20).running() as load:
        await asyncio.sleep(scale.seconds(30, 4))
    ejected = await asyncio.to_thread(_ejected, replicas[0])
    await asyncio.sleep(DEADLINE_MS / 1000)  # until the last attempt has ended, whose caller has its answer
    ejected += await asyncio.to_thread(_ejected, replicas[0])
    figure = (
        f"{len(load.answers.failed)} of {len(load.answers.all)} failed; {len(ejected)} ejected; "
        f"{_orphans(replicas):.0f} orphaned channels"
    )
    row.record(figure, kept=not load.answers.failed and not ejected)


async def test_a_running_call_stays_on_its_sfu_that_is_slower_than_its_share_of_the_deadline(
    deployment: Deployment, scale: Scale
) -> None:
    row = Row(
        "R36 (known calls, one SFU needs 1500 to 2200 ms, the other 3 ms)",
        "SFUs slower than their share of the deadline, but within it",
        "0 failed requests; nobody ejected; 0 calls moved",
    )
    replicas, fleet = start(deployment, replicas=2, sfus=2)
    issuers = [f"https://odoo.example:channel:{number}" for number in range(scale.count(60, 20))]
    before = places(await ask_all(replicas, issuers))
    answers = []
    for delay_ms in (1_500, 1_900, 2_200):
        fault = {"fault": "delay", "ms": delay_ms, "route": "/v1/channel"}
        await _set_fault(fleet, fleet.addresses[0], fault)
        answers += await ask_all(replicas, issuers)
    failed = [answer for answer in answers if answer.status != 200]
    moved = [issuer for issuer, found in places(answers).items() if found != before[issuer]]
    ejected = await asyncio.to_thread(_ejected, replicas[0])
    figure = (
        f"{len(failed)} of {len(answers)} failed; {len(moved)} of {len(issuers)} calls moved; "
        f"{len(ejected)} ejected; slowest {max(answer.latency_ms for answer in answers):.0f} ms"
    )
    row.record(figure, kept=not failed and not moved and not ejected)


def _orphans(replicas: list[Replica]) -> float:
    lines = [line for replica in replicas for line in replica.client.get("/metrics").text.splitlines()]
    return sum(
        float(line.split()[-1]) for line in lines if line.startswith("sfu_gateway_orphaned_channels_total")
    )
