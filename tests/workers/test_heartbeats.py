import asyncio
import logging
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from app.crypto.tokens import Key, verify
from app.upstream.addresses import AddressGuard
from app.upstream.client import Forwarder
from tests.support.gateway import FakeGateway, running_gateway
from tests.support.simulated import Clock
from tests.support.waiting import eventually
from workers.gateway_link import GatewayLink, HeartbeatFailed, Payload, Post, posting
from workers.heartbeats import Heartbeats

NOBODY_LISTENS = "http://127.0.0.1:9"
REGISTRATION_KEY = Key(b"the key that lets SFUs register!")


def report() -> Payload:
    return {"address": "http://sfu1:8070", "channels": 3}


def heartbeats(post: Post, *urls: str, key: Key | None = None, interval_ms: float = 60_000) -> Heartbeats:
    link = GatewayLink(urls, post, key, interval_ms)
    return Heartbeats(report, link, clock=Clock(), random=Random(1))


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    async with Forwarder(AddressGuard()) as client:
        yield posting(client, 2)


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with running_gateway() as running:
        yield running


async def test_a_heartbeat_is_the_report_with_its_status(gateway: FakeGateway, post: Post) -> None:
    assert await heartbeats(post, gateway.url).beat()
    assert gateway.heartbeats == [{"status": "up", **report()}]
    assert "Authorization" not in gateway.headers[0]


async def test_a_heartbeat_is_signed_with_the_registration_key_for_less_than_five_minutes(
    gateway: FakeGateway, post: Post
) -> None:
    await heartbeats(post, gateway.url, key=REGISTRATION_KEY).beat()
    scheme, _, token = gateway.headers[0]["Authorization"].partition(" ")
    now = Clock()()
    claims = verify(token, [REGISTRATION_KEY], now=now)
    assert scheme == "Bearer"
    assert now < claims["exp"] <= now + 300
    assert (claims["sub"], claims["iat"]) == ("http://sfu1:8070", now)


async def test_the_next_gateway_is_asked_when_one_does_not_answer(gateway: FakeGateway, post: Post) -> None:
    assert await heartbeats(post, NOBODY_LISTENS, gateway.url + "/").beat()
    assert len(gateway.heartbeats) == 1


async def test_the_gateway_that_answered_last_is_asked_first() -> None:
    asked: list[str] = []

    async def only_b_answers(url: str, *_: Any) -> Any:
        asked.append(url)
        if url.startswith("http://a"):
            raise HeartbeatFailed("down")
        return {}

    sender = heartbeats(only_b_answers, "http://a", "http://b")
    assert await sender.beat()
    assert await sender.beat()
    assert asked == ["http://a/v1/sfu", "http://b/v1/sfu", "http://b/v1/sfu"]


async def test_the_report_of_a_gone_sfu_is_a_sign_off_with_its_reason(
    gateway: FakeGateway, post: Post
) -> None:
    assert await heartbeats(post, gateway.url).report_gone()
    assert gateway.heartbeats == [{"status": "down", **report(), "reason": "unreachable"}]
    assert not await heartbeats(post, NOBODY_LISTENS).report_gone()


async def test_the_report_of_a_gone_sfu_waits_for_a_heartbeat_that_is_under_way() -> None:
    sent: list[str] = []
    arrived, answered = asyncio.Event(), asyncio.Event()

    async def slow(_: str, payload: Payload, __: Any) -> Any:
        sent.append(payload["status"])
        arrived.set()
        await answered.wait()
        return {}

    sender = heartbeats(slow, "http://a")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sender.beat())
        await arrived.wait()
        tasks.create_task(sender.report_gone())
        await asyncio.sleep(0)
        assert sent == ["up"]
        answered.set()
    assert sent == ["up", "down"]


async def test_a_heartbeat_in_a_hurry_does_not_wait_for_its_interval(
    gateway: FakeGateway, post: Post
) -> None:
    sender = heartbeats(post, gateway.url, interval_ms=3_600_000)
    sender.start()
    await eventually(lambda: sender.taken_count == 1)
    sender.hurry()
    await eventually(lambda: sender.taken_count == 2)
    await sender.sign_off()
    assert [beat["status"] for beat in gateway.heartbeats] == ["up", "up", "down"]


@pytest.mark.parametrize("status", [302, 401, 409, 503])
async def test_anything_but_200_is_a_failure(gateway: FakeGateway, post: Post, status: int) -> None:
    gateway.status = status
    assert not await heartbeats(post, gateway.url).beat()


async def test_the_interval_and_the_drain_of_the_reply_are_followed(gateway: FakeGateway, post: Post) -> None:
    sender = heartbeats(post, gateway.url)
    gateway.reply = {"status": "ok", "nextPingMs": 2500, "draining": True}
    await sender.beat()
    assert (sender.interval_ms, sender.is_told_to_drain) == (2500, True)
    gateway.reply = {"status": "ok", "draining": False}
    await sender.beat()
    assert (sender.interval_ms, sender.is_told_to_drain) == (2500, False)


async def test_the_shorter_interval_is_kept_the_sfu_s_own_or_the_gateway_s(
    gateway: FakeGateway, post: Post
) -> None:
    sender = heartbeats(post, gateway.url, interval_ms=3_000)
    for next_ping_ms, kept in ((10_000, 3_000), (2_000, 2_000), (10**12, 3_000), (1e-9, 100)):
        gateway.reply = {"status": "ok", "nextPingMs": next_ping_ms}
        await sender.beat()
        assert sender.interval_ms == kept


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-3600, "is 3600 s behind the gateway's"), (90, "is 90 s ahead of the gateway's")]
)
async def test_a_refusal_for_time_names_the_clock(
    gateway: FakeGateway, post: Post, seconds: int, shown: str
) -> None:
    gateway.status, gateway.reply = 401, {"code": "credentials_expired", "clockDifferenceSeconds": seconds}
    sender = heartbeats(post, gateway.url)
    assert not await sender.beat()
    assert sender.failure.endswith(f"answered 401 (credentials_expired): the clock of this machine {shown}")
    gateway.status = 200
    assert await sender.beat()
    assert sender.failure == ""


@pytest.mark.parametrize("reply", [[], {"nextPingMs": "soon"}, {"nextPingMs": 0}])
async def test_a_reply_that_makes_no_sense_changes_nothing(reply: Any) -> None:
    async def answer(*_: Any) -> Any:
        return reply

    sender = heartbeats(answer, "http://a")
    assert await sender.beat()
    assert sender.interval_ms == 60_000


async def test_heartbeats_go_on_at_the_interval_that_the_gateway_names(
    gateway: FakeGateway, post: Post
) -> None:
    gateway.reply = {"status": "ok", "nextPingMs": 20}
    sender = heartbeats(post, gateway.url)
    sender.start()
    await eventually(lambda: len(gateway.heartbeats) >= 3)
    sender.halt()


async def test_failures_are_retried_well_before_the_interval() -> None:
    tries = 0

    async def fail_once(*_: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise HeartbeatFailed("down")
        return {}

    sender = heartbeats(fail_once, "http://a", interval_ms=600_000)
    sender.start()
    await eventually(lambda: tries >= 2)
    sender.halt()


async def test_only_the_first_failure_in_a_row_is_logged_and_without_secrets(
    caplog: pytest.LogCaptureFixture, post: Post
) -> None:
    sender = heartbeats(post, NOBODY_LISTENS, key=REGISTRATION_KEY)
    with caplog.at_level(logging.WARNING):
        await sender.beat()
        await sender.beat()
    [record] = caplog.records
    assert "http://127.0.0.1:9/v1/sfu" in record.getMessage()
    assert "Bearer" not in record.getMessage()


async def test_signing_off_says_down_once_and_nothing_after(gateway: FakeGateway, post: Post) -> None:
    sender = heartbeats(post, gateway.url)
    sender.start()
    await eventually(lambda: gateway.heartbeats)
    await sender.sign_off()
    await sender.sign_off()
    assert [beat["status"] for beat in gateway.heartbeats] == ["up", "down"]


async def test_signing_off_waits_for_a_heartbeat_in_flight() -> None:
    log: list[str] = []
    in_flight, may_answer = asyncio.Event(), asyncio.Event()

    async def slow(_: str, payload: Payload, __: Any) -> Any:
        in_flight.set()
        await may_answer.wait()
        log.append(payload["status"])

    sender = heartbeats(slow, "http://a")
    sender.start()
    await in_flight.wait()
    farewell = asyncio.create_task(sender.sign_off())
    await asyncio.sleep(0)
    assert log == []
    may_answer.set()
    await farewell
    assert log == ["up", "down"]


async def test_signing_off_without_any_gateway_ends(post: Post) -> None:
    sender = heartbeats(post, NOBODY_LISTENS)
    sender.start()
    await sender.sign_off()
    assert not await sender.beat()


async def test_halted_heartbeats_end_without_a_word_and_can_start_again(
    gateway: FakeGateway, post: Post
) -> None:
    sender = heartbeats(post, gateway.url)
    for count in (1, 2):
        sender.start()
        await eventually(lambda count=count: len(gateway.heartbeats) == count)  # type: ignore[misc]
        sender.halt()
    await sender.sign_off()
    assert [beat["status"] for beat in gateway.heartbeats] == ["up", "up"]


async def test_heartbeats_that_an_error_ends_say_so() -> None:
    async def broken(_: str, __: Payload, ___: Any) -> Any:
        raise LookupError("a defect")

    ended = asyncio.Event()
    sender = heartbeats(broken, "http://a")
    sender.start(ended.set)
    async with asyncio.timeout(5):
        await ended.wait()
    with pytest.raises(LookupError):
        await sender.sign_off()
