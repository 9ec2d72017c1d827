"""The channel journey, with real SFUs that fail in real ways and a registry whose clock stands still."""

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Awaitable
from typing import Any

import pytest

from app.auth.tenants import Tenant
from app.crypto.tokens import SFU_TOKEN_LIFE_SECONDS, Key
from app.errors import (
    AllSfusFailed,
    ChannelNotPlaced,
    DeadlineExceeded,
    NoSfuAvailable,
    Overloaded,
    RequestRefusedBySfu,
    TenantLimitReached,
)
from app.settings.model import FailoverSettings, RegistrationSettings, Settings
from tests.app.channels.gateway import GATEWAY_KEY, Gateway
from tests.lua.fleet import Fleet
from tests.support.apps import running_app
from tests.support.waiting import eventually
from workers.simulator.faults import Fault, Garbage, Hang, NoFault, NoUuid, Refuse, Status
from workers.simulator.sfu import SimulatedSfu

BRISK = FailoverSettings(deadline_ms=400)
"""For tests in which an SFU hangs: a fifth of a second for the first try."""


async def took(work: Awaitable[object], error: type[ChannelNotPlaced] = ChannelNotPlaced) -> float:
    """Seconds until `work` had no SFU to offer."""
    started = time.monotonic()
    with pytest.raises(error):
        await work
    return time.monotonic() - started


# What the SFU gets, and Odoo


async def test_the_least_loaded_sfu_makes_the_channel(gateway: Gateway) -> None:
    first, second = await gateway.add(2)
    placed = await gateway.ask()
    assert (placed.channel.url, placed.attempts) == (first.address, 1)
    assert list(first.channels.by_uuid) == [placed.channel.uuid]
    assert second.calls == []


async def test_the_sfu_gets_all_claims_signed_with_its_own_key_and_an_expiry_of_our_own(
    gateway: Gateway,
) -> None:
    [sfu] = await gateway.add(1)
    now = int(time.time())
    request = gateway.request(key="channel key", sessionIds=[1, 2], exp=now + 30)
    await gateway.replica(wall_clock=lambda: now).create(request)
    [call] = sfu.calls
    assert call.claims == {
        "iss": "issuer",
        "key": "channel key",
        "sessionIds": [1, 2],
        "exp": now + SFU_TOKEN_LIFE_SECONDS,
    }


async def test_a_key_seed_becomes_the_key_that_browsers_derive_from_the_gateways(gateway: Gateway) -> None:
    [sfu] = await gateway.add(1)
    seed = base64.b64encode(b"seed of a channel").decode()
    await gateway.replica().create(gateway.request(keySeed=seed))
    derived = hmac.digest(GATEWAY_KEY.secret, b"seed of a channel", hashlib.sha256)
    assert sfu.calls[0].claims["key"] == base64.b64encode(derived).decode()
    assert "keySeed" not in sfu.calls[0].claims


async def test_the_sfu_is_told_the_caller_and_its_own_public_name(gateway: Gateway) -> None:
    [sfu] = await gateway.add(1, public_url="https://sfu.example.com:8443")
    placed = await gateway.ask()
    headers = sfu.calls[0].headers
    assert headers["X-Forwarded-For"] == "192.0.2.7"
    assert (headers["X-Forwarded-Host"], headers["X-Forwarded-Proto"]) == ("sfu.example.com:8443", "https")
    assert placed.channel.url == "https://sfu.example.com:8443"


# FailoverSettings


@pytest.mark.parametrize(
    "fault",
    [Hang(), Refuse(), Garbage(), NoUuid(), *(Status(status=status) for status in (500, 503, 429, 401, 302))],
    ids=lambda fault: f"{fault.fault} {getattr(fault, 'status', '')}".strip(),
)
async def test_an_sfu_that_fails_is_left_for_the_next_best(gateway: Gateway, fault: Fault) -> None:
    await gateway.add(3)
    await gateway.sfus[0].set_fault(fault)
    placed = await gateway.replica(BRISK).create(gateway.request())
    assert (placed.placement.address, placed.attempts) == (gateway.sfus[1].address, 2)
    assert gateway.created() == 1

    async def are_given_back() -> bool:  # an SFU that hangs stays asked until the deadline
        return await gateway.reserved() == [0, 4, 0]

    await eventually(are_given_back)


async def test_no_sfu_is_tried_twice_and_no_more_than_max_retries_are(gateway: Gateway) -> None:
    await gateway.add(5)
    await gateway.break_all(*[Status()] * 5)
    with pytest.raises(AllSfusFailed):
        await gateway.ask()
    assert gateway.tries() == [1, 1, 1, 0, 0]


async def test_with_fewer_sfus_than_tries_each_is_tried_once(gateway: Gateway) -> None:
    await gateway.add(2)
    await gateway.break_all(Status(), Garbage())
    with pytest.raises(AllSfusFailed):
        await gateway.ask()
    assert gateway.tries() == [1, 1]


@pytest.mark.parametrize(
    "faults", [(Status(),) * 3, (Status(), Garbage(), Refuse()), (Refuse(), Status(), NoUuid())]
)
async def test_after_a_failure_of_all_nothing_stays_reserved_or_held(
    gateway: Gateway, faults: tuple[Fault, ...]
) -> None:
    await gateway.add(3)
    await gateway.break_all(*faults)
    with pytest.raises(AllSfusFailed):
        await gateway.ask()
    assert await gateway.reserved() == [0, 0, 0]
    assert await gateway.fleet.client.exists(gateway.fleet.keys.placement("default", "issuer")) == 0


# One deadline


async def test_hanging_sfus_leave_time_for_the_one_that_answers(gateway: Gateway) -> None:
    await gateway.add(3)
    await gateway.break_all(Hang(), Hang(), NoFault())
    placed = await gateway.replica(FailoverSettings(deadline_ms=800)).create(gateway.request())
    assert placed.attempts == 3


async def test_all_attempts_together_keep_the_deadline(gateway: Gateway) -> None:
    await gateway.add(3)
    await gateway.break_all(Hang(), Hang(), Hang())
    seconds = await took(gateway.replica(BRISK).create(gateway.request()), DeadlineExceeded)
    assert 0.35 < seconds < 2
    assert gateway.tries() == [1, 1, 1]


async def test_one_attempt_takes_no_longer_than_retry_timeout(gateway: Gateway) -> None:
    await gateway.add(1)
    await gateway.break_all(Hang())
    failover = FailoverSettings(deadline_ms=10_000, retry_timeout_ms=50)
    assert await took(gateway.replica(failover).create(gateway.request())) < 2


# Nobody to ask


async def test_without_sfus_there_is_none(gateway: Gateway) -> None:
    with pytest.raises(NoSfuAvailable):
        await gateway.ask()


async def test_with_full_sfus_only_the_gateway_is_overloaded(gateway: Gateway) -> None:
    await gateway.add(2, sessions=1_000)
    with pytest.raises(Overloaded):
        await gateway.ask()
    assert gateway.tries() == [0, 0]


async def test_a_tenant_gets_no_more_channels_than_it_may_have(gateway: Gateway) -> None:
    await gateway.add(1)
    small = Tenant("small", (GATEWAY_KEY,), max_placements=1)
    replica = gateway.replica()
    await replica.create(gateway.request("first", small))
    await replica.create(gateway.request("first", small))
    with pytest.raises(TenantLimitReached):
        await replica.create(gateway.request("second", small))


# Whose fault it was


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_request_that_two_sfus_refuse_alike_is_not_tried_further_and_blames_nobody(
    gateway: Gateway, status: int
) -> None:
    await gateway.add(3)
    await gateway.break_all(*[Status(status=status)] * 3)
    with pytest.raises(RequestRefusedBySfu):
        await gateway.ask()
    assert gateway.tries() == [1, 1, 0]
    assert await gateway.states() == ["up"] * 3
    assert await gateway.reserved() == [0] * 3


@pytest.mark.parametrize("fault", [Status(status=500), Status(status=401), Garbage()])
async def test_a_request_that_fails_alike_everywhere_marks_nobody(gateway: Gateway, fault: Fault) -> None:
    await gateway.add(4)
    await gateway.break_all(*[fault] * 4)
    with pytest.raises(AllSfusFailed):
        await gateway.ask()
    assert await gateway.states() == ["up"] * 4


@pytest.mark.parametrize(
    ("fault", "state"),
    [(Status(status=500), "failed"), (NoUuid(), "failed"), (Status(status=403), "misconfigured")],
)
async def test_what_another_sfu_can_do_was_the_first_ones_fault(
    gateway: Gateway, fault: Fault, state: str
) -> None:
    await gateway.add(2)
    await gateway.sfus[0].set_fault(fault)
    await gateway.ask()
    assert await gateway.states() == [state, "up"]


async def test_an_sfu_whose_key_this_replica_cannot_unseal_is_passed_over_and_not_blamed(
    gateway: Gateway,
) -> None:
    await gateway.add(2)
    sealed_by_others = Fleet(gateway.fleet.client, sealing=[b"sealing-key-0002"])
    stranger = Key(b"sealed with a key that is not configured")
    await sealed_by_others.beat("http://127.0.0.1:9", key=stranger)
    await gateway.fleet.beat(gateway.sfus[0].address, key=gateway.sfus[0].config.key, sessions=10)
    placed = await gateway.ask()
    assert placed.attempts == 2
    assert await gateway.fleet.state("http://127.0.0.1:9") == "selectable"


async def test_an_sfu_that_cannot_be_reached_is_marked_even_when_all_fail(gateway: Gateway) -> None:
    await gateway.add(4)
    await gateway.break_all(Refuse(), Status(status=500), Status(status=503), Status(status=500))
    with pytest.raises(AllSfusFailed):
        await gateway.ask()
    assert (await gateway.states())[0] == "failed"


# One at a time per issuer


async def test_requests_of_one_issuer_at_once_make_one_channel(gateway: Gateway) -> None:
    await gateway.add(3)
    replica = gateway.replica()
    placed = await asyncio.gather(*(replica.create(gateway.request()) for _ in range(20)))
    assert len({each.channel.uuid for each in placed}) == 1
    assert gateway.created() == 1


async def test_so_do_requests_at_two_replicas(gateway: Gateway) -> None:
    await gateway.add(3)
    replicas = gateway.replica(), gateway.replica()
    placed = await asyncio.gather(*(replicas[i % 2].create(gateway.request()) for i in range(20)))
    assert len({each.channel.uuid for each in placed}) == 1
    assert gateway.created() == 1


async def test_issuers_do_not_wait_for_each_other(gateway: Gateway) -> None:
    [sfu] = await gateway.add(1)
    await sfu.set_fault(Hang())
    replica = gateway.replica()
    tasks = [asyncio.create_task(replica.create(gateway.request(f"issuer {i}"))) for i in range(3)]
    await eventually(lambda: gateway.tries() == [3])
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("replicas", [1, 2])
async def test_whoever_waited_has_only_what_is_left_of_its_time(gateway: Gateway, replicas: int) -> None:
    await gateway.add(3)
    await gateway.break_all(Hang(), Hang(), Hang())
    channels = [gateway.replica(FailoverSettings(deadline_ms=1_000)) for _ in range(replicas)]
    times = await asyncio.gather(*(took(channels[i % replicas].create(gateway.request())) for i in (0, 1)))
    assert max(times) < 1.8  # two deadlines one after the other take two seconds


@pytest.mark.parametrize("replicas", [1, 2])
async def test_whoever_waits_for_a_failover_gets_what_came_of_it(gateway: Gateway, replicas: int) -> None:
    await gateway.add(2)
    await gateway.sfus[0].set_fault(Hang())
    channels = [gateway.replica(FailoverSettings(deadline_ms=1_000)) for _ in range(replicas)]
    first, second = await asyncio.gather(*(channels[i % replicas].create(gateway.request()) for i in (0, 1)))
    assert first.channel == second.channel
    assert gateway.tries()[0] == 1


async def test_a_request_that_is_cancelled_holds_up_its_replica_no_longer(gateway: Gateway) -> None:
    [sfu] = await gateway.add(1)
    await sfu.set_fault(Hang())
    replica = gateway.replica()
    cancelled = asyncio.create_task(replica.create(gateway.request()))
    await eventually(lambda: sfu.calls)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    await sfu.set_fault(Status())
    gateway.fleet.wait(2_600)  # until Redis lets go of it as well
    assert await took(replica.create(gateway.request())) < 2


async def test_an_sfu_that_was_restarted_gives_a_new_channel_and_it_is_remembered(gateway: Gateway) -> None:
    [sfu] = await gateway.add(1)
    replica = gateway.replica()
    before = await replica.create(gateway.request())
    sfu.channels.clear()
    after = await replica.create(gateway.request())
    assert after.channel.uuid != before.channel.uuid
    await eventually(lambda: replica.is_settled)
    assert await gateway.fleet.owner_of(after.channel.uuid) == sfu.address


# Not too many retries


async def test_the_second_sfu_is_always_asked_and_third_tries_are_a_share_of_the_requests(
    gateway: Gateway,
) -> None:
    await gateway.add(3)
    await gateway.break_all(*[Status()] * 3)
    replica = gateway.replica(monotonic=lambda: 0)
    for number in range(100):
        with pytest.raises(AllSfusFailed):
            await replica.create(gateway.request(f"issuer {number}"))
    third_tries = sum(gateway.tries()) - 200
    assert 50 <= third_tries <= 50 + 100 / 5


# What Odoo sees


SETTINGS = Settings(key=(GATEWAY_KEY,), registration=RegistrationSettings(auth="none"), failover=BRISK)


async def answer_of(sfu: SimulatedSfu, fault: Fault | None) -> tuple[int, dict[str, Any], str | None]:
    """Status, document and `Retry-After` of a gateway with one SFU, which has a fault; `None`: no SFU."""
    async with running_app(SETTINGS) as client:
        if fault is not None:
            await sfu.set_fault(fault)
            report = {"status": "up", "address": sfu.address, "region": "eu", "key": sfu.key_text}
            figures = {"channels": 0, "sessions": 0, "cpuUsage": 0, "memoryUsage": 0}
            assert (await client.post("/v1/sfu", json=report | figures)).status_code == 200
        token = GATEWAY_KEY.sign({"iss": "issuer", "exp": int(time.time()) + 30})
        answer = await client.get(
            "/v1/channel?region=eu&country=BE&webRTC=false&x=1&x=2", headers={"Authorization": f"jwt {token}"}
        )
        return answer.status_code, answer.json(), answer.headers.get("retry-after")


@pytest.mark.parametrize(
    ("fault", "status", "code", "retry_after"),
    [
        (None, 503, "no_sfu", "10"),
        (Status(status=500), 503, "all_failed", "5"),
        (Status(status=204), 503, "all_failed", "5"),
        (Garbage(), 503, "all_failed", "5"),
        (NoUuid(), 503, "all_failed", "5"),
        (Status(status=404), 502, "refused_by_sfu", None),
    ],
)
async def test_odoo_never_gets_a_2xx_without_both_texts(
    gateway: Gateway, fault: Fault | None, status: int, code: str, retry_after: str | None
) -> None:
    [sfu] = await gateway.add(1)
    answer = await answer_of(sfu, fault)
    assert (answer[0], answer[1]["code"], answer[2]) == (status, code, retry_after)


async def test_the_query_is_passed_through_without_the_gateways_own_hints(gateway: Gateway) -> None:
    [sfu] = await gateway.add(1)
    status, document, _ = await answer_of(sfu, NoFault())
    assert (status, sorted(document)) == (200, ["url", "uuid"])
    assert list(sfu.calls[0].query.items()) == [("webRTC", "false"), ("x", "1"), ("x", "2")]


async def test_two_databases_under_one_issuer_have_two_channels_on_one_sfu(gateway: Gateway) -> None:
    await gateway.add(1)
    ours, theirs = gateway.request(key="b3Vycw=="), gateway.request(key="dGhlaXJz")
    channels = [await gateway.replica().create(request) for request in (ours, theirs)]
    again = await gateway.replica().create(gateway.request(key="dGhlaXJz"))
    assert channels[0].channel.uuid != channels[1].channel.uuid
    assert again.channel.uuid == channels[1].channel.uuid
    assert gateway.created() == 2
