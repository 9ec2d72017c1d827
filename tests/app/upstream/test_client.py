"""Forwarding to an SFU over real sockets: healthy, broken in every way it can be, and out of bounds."""

import asyncio
import errno
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from app.errors import AddressNotAllowed
from app.upstream.addresses import AddressGuard, IpAddress
from app.upstream.client import MAX_ANSWER_BYTES, Channel, Forwarder, ForwardError, _channel
from app.upstream.connection import Answer
from app.upstream.resolver import GuardedResolver
from tests.support.ports import free_port
from tests.support.simulated import KEY, running_sfu, token
from workers.simulator.channels import People
from workers.simulator.faults import (
    Drip,
    Fault,
    Garbage,
    Hang,
    Huge,
    NoUuid,
    Redirect,
    Refuse,
    Status,
    WrongClock,
    WrongKey,
)
from workers.simulator.listener import Listener
from workers.simulator.sfu import SfuConfig, SimulatedSfu

TIMEOUT_S = 5.0

SHORT_TIMEOUT_S = 0.3
"""For SFUs that do not answer in time."""


@pytest.fixture
async def sfu() -> AsyncIterator[SimulatedSfu]:
    """One healthy SFU."""
    async with running_sfu() as (sfu, _):
        yield sfu


@pytest.fixture
async def forwarder() -> AsyncIterator[Forwarder]:
    """A forwarder that may go anywhere ordinary."""
    async with Forwarder(AddressGuard()) as forwarder:
        yield forwarder


async def ask(forwarder: Forwarder, address: str, **changes: Any) -> Channel:
    """Ask the SFU at `address` for a channel."""
    request: dict[str, Any] = {
        "token": token(),
        "client": "192.0.2.7",
        "public_url": "",
        "query": "",
        "timeout_s": TIMEOUT_S,
    }
    return await forwarder.create_channel(address, **request | changes)


@asynccontextmanager
async def server_that_answers(body: bytes) -> AsyncIterator[str]:
    """The address of a server that answers everything with `body`."""

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    listener = Listener("127.0.0.1", 0, answer)
    await listener.open()
    try:
        yield f"http://127.0.0.1:{listener.port}"
    finally:
        await listener.close()


# A healthy SFU


async def test_a_healthy_sfu_gives_a_channel(forwarder: Forwarder, sfu: SimulatedSfu) -> None:
    channel = await ask(forwarder, sfu.address)
    assert channel.url == sfu.address
    assert channel.uuid in sfu.channels.by_uuid


async def test_the_sfu_gets_the_token_the_query_and_the_true_caller(
    forwarder: Forwarder, sfu: SimulatedSfu
) -> None:
    query = [("recordingAddress", "http://rec/?a=b&c"), ("webRTC", "false")]
    await ask(forwarder, sfu.address, query=urlencode(query), token=token(future=1))
    [call] = sfu.calls
    assert (call.method, call.path) == ("GET", "/v1/channel")
    assert list(call.query.items()) == query
    assert call.claims["future"] == 1
    assert call.headers["X-Forwarded-For"] == "192.0.2.7"
    assert "X-Forwarded-Host" not in call.headers


async def test_behind_a_public_url_the_sfu_names_itself_by_it(forwarder: Forwarder) -> None:
    config = SfuConfig(key=KEY, proxy=True, people=People(per_channel=0))
    async with running_sfu(config) as (sfu, _):
        channel = await ask(forwarder, sfu.address, public_url="https://sfu.example.com:8443")
        assert channel.url == "https://sfu.example.com:8443"
        assert sfu.calls[0].remote_address == "192.0.2.7"


async def test_the_registered_public_url_wins_over_what_the_sfu_says() -> None:
    """An SFU without PROXY does not know the name by which browsers reach it."""
    async with running_sfu() as (sfu, _), Forwarder(AddressGuard()) as forwarder:
        channel = await ask(forwarder, sfu.address, public_url="https://sfu.example.com")
        assert (channel.url, channel.said_url) == ("https://sfu.example.com", sfu.address)


async def test_a_refusal_by_an_sfu_whose_clock_is_off_says_by_how_much(
    sfu: SimulatedSfu, forwarder: Forwarder
) -> None:
    await sfu.set_fault(WrongClock(seconds_ahead=3_600))
    with pytest.raises(
        ForwardError, match=r"answered 500 to /v1/channel; its clock is 3\d\d\d s ahead of the gateway's$"
    ) as caught:
        await ask(forwarder, sfu.address)
    assert abs(caught.value.clock_ahead_s - 3_600) < 10


async def test_a_refusal_by_an_sfu_with_the_right_clock_says_nothing_of_clocks(
    sfu: SimulatedSfu, forwarder: Forwarder
) -> None:
    await sfu.set_fault(WrongKey())
    with pytest.raises(ForwardError, match=r"^answered 500 to /v1/channel$"):
        await ask(forwarder, sfu.address)


# An answer that cannot be used


@pytest.mark.parametrize("uuid", ["", "\ud800", "a\x00", "a\r\nb", "x" * 201, 7, None, ["x"]])
async def test_a_uuid_that_cannot_be_used_is_a_failed_attempt(forwarder: Forwarder, uuid: object) -> None:
    await fails(forwarder, {"uuid": uuid, "url": "http://sfu.test"})


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "\ud800",
            "http://\ud800",
            "http://sfu.test/\x00",
            "http://sfu.test\r\nX: y",
            "http://sfu .test",
        ),
        *("javascript:alert(1)", "ftp://sfu.test", "//sfu.test", "sfu.test:8070", "http://", "http://:8070"),
        *(
            "http://[::1",
            "http://sfu.test:99999",
            "http://sfu.test:0",
            "http://u:p@sfu.test",
            "http:\\sfu.test",
        ),
        *("http://<sfu>", "http://sfu%00.test", "http://[fe80::1%eth0]:8070", "http://a|b"),
        *("http://" + "x" * 2_048, 7, None, {"a": 1}),
    ],
)
async def test_a_url_that_cannot_be_used_is_a_failed_attempt(forwarder: Forwarder, url: object) -> None:
    await fails(forwarder, {"uuid": "7c0e", "url": url})


async def fails(forwarder: Forwarder, document: object) -> None:
    async with server_that_answers(json.dumps(document).encode()) as address:
        with pytest.raises(ForwardError, match="answered 2xx with") as caught:
            await ask(forwarder, address)
        assert caught.value.status == 200


@given(st.dictionaries(st.sampled_from(["uuid", "url", "x"]), st.text(st.characters()) | st.none()))
def test_a_channel_that_is_read_can_be_answered(document: dict[str, Any]) -> None:
    try:
        channel = _channel(Answer(200, json.dumps(document).encode()))
    except ForwardError:
        return
    assert channel.uuid.encode()
    assert channel.url.encode()


# Our own faults


async def test_a_resolver_that_does_not_answer_is_not_the_sfu_s_fault() -> None:
    async def away(_: str) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    async def never(_: str) -> Sequence[str]:
        await asyncio.Event().wait()
        raise AssertionError

    async def no_such_name(_: str) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    for lookup, is_ours in ((away, True), (never, True), (no_such_name, False)):
        guard = AddressGuard()
        async with Forwarder(guard, resolver=GuardedResolver(guard, lookup=lookup)) as forwarder:
            with pytest.raises(ForwardError) as caught:
                await ask(forwarder, "http://sfu.test", timeout_s=0.05)
            assert (caught.value.blame == "never") == is_ours
            assert caught.value.status is None


async def test_no_free_file_descriptor_is_not_the_sfu_s_fault(
    forwarder: Forwarder, sfu: SimulatedSfu, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none_left(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", none_left)
    with pytest.raises(ForwardError, match="too many open files") as caught:
        await ask(forwarder, sfu.address)
    assert caught.value.blame == "never"


# A broken SFU


@pytest.mark.parametrize(
    ("fault", "status", "detail"),
    [
        (Status(status=500), 500, "answered 500"),
        (Status(status=503), 503, "answered 503"),
        (Status(status=401), 401, "answered 401"),
        (Status(status=404), 404, "answered 404"),
        (Status(status=204), 200, "not JSON"),
        (Garbage(), 200, "not JSON"),
        (NoUuid(), 200, "without uuid and url"),
        (Redirect(), 302, "answered 302"),
        (Huge(), 200, "more than 65536 bytes"),
        (Hang(), None, "did not answer within"),
        (Drip(bytes_per_second=100), None, "did not answer within"),
        (Refuse(), None, "cannot be reached"),
    ],
)
async def test_a_broken_sfu_is_an_error_that_says_how(
    forwarder: Forwarder, sfu: SimulatedSfu, fault: Fault, status: int | None, detail: str
) -> None:
    await sfu.set_fault(fault)
    timeout_s = SHORT_TIMEOUT_S if "did not answer" in detail else TIMEOUT_S
    with pytest.raises(ForwardError, match=detail) as caught:
        async with asyncio.timeout(TIMEOUT_S):
            await ask(forwarder, sfu.address, timeout_s=timeout_s)
    assert caught.value.status == status


async def test_a_redirect_is_not_followed(forwarder: Forwarder, sfu: SimulatedSfu) -> None:
    async with running_sfu() as (other, _):
        await sfu.set_fault(Redirect(location=f"{other.address}/v1/channel"))
        with pytest.raises(ForwardError):
            await ask(forwarder, sfu.address)
        assert other.calls == []


async def test_a_connection_that_died_while_idle_does_no_harm_later(
    forwarder: Forwarder, sfu: SimulatedSfu
) -> None:
    await ask(forwarder, sfu.address)
    sfu.kill()
    await sfu.start()
    assert (await ask(forwarder, sfu.address)).uuid


async def test_nobody_listens(forwarder: Forwarder) -> None:
    with pytest.raises(ForwardError, match="cannot be reached"):
        await ask(forwarder, f"http://127.0.0.1:{free_port()}")


async def test_a_name_that_leads_nowhere_is_an_error(forwarder: Forwarder) -> None:
    with pytest.raises(ForwardError):
        await ask(forwarder, "http://sfu.invalid:8070", timeout_s=5)


@pytest.mark.parametrize("document", [[], "text", 5, None, {}, {"uuid": "x"}, {"url": "http://sfu"}])
async def test_a_2xx_without_both_texts_never_gets_through(forwarder: Forwarder, document: object) -> None:
    async with server_that_answers(json.dumps(document).encode()) as address:
        with pytest.raises(ForwardError, match="without uuid and url"):
            await ask(forwarder, address)


@pytest.mark.parametrize("body", [b"", b"[" * 50_000, b"\xff\xfe", b'{"uuid": ' + b"9" * 5000 + b"}"])
async def test_a_2xx_that_nobody_can_read_never_gets_through(forwarder: Forwarder, body: bytes) -> None:
    async with server_that_answers(body) as address:
        with pytest.raises(ForwardError, match="not JSON"):
            await ask(forwarder, address)


async def test_64_kib_are_read(forwarder: Forwarder) -> None:
    body = b'{"uuid": "x", "url": "http://sfu"}'.ljust(MAX_ANSWER_BYTES)
    async with server_that_answers(body) as address:
        assert await ask(forwarder, address) == Channel("x", "http://sfu")
    async with server_that_answers(body + b" ") as address:
        with pytest.raises(ForwardError, match="more than"):
            await ask(forwarder, address)


async def test_an_error_never_repeats_the_token(forwarder: Forwarder, sfu: SimulatedSfu) -> None:
    secret = token()
    for fault in (Garbage(), Status(), Refuse()):
        await sfu.set_fault(fault)
        with pytest.raises(ForwardError) as caught:
            await ask(forwarder, sfu.address, token=secret)
        assert secret not in f"{caught.value!r} {caught.value.__cause__!r}"


# Probes, statistics, disconnects


async def test_a_probe_is_good_when_the_sfu_answers_2xx(forwarder: Forwarder, sfu: SimulatedSfu) -> None:
    assert await forwarder.probe(sfu.address, TIMEOUT_S)
    for fault in (Status(status=500), Redirect(), Hang(), Huge(), Refuse()):
        await sfu.set_fault(fault)
        assert not await forwarder.probe(sfu.address, SHORT_TIMEOUT_S)


async def test_statistics_may_be_longer_than_an_answer(forwarder: Forwarder) -> None:
    document = [{"uuid": "x" * 100}] * 1000
    async with server_that_answers(json.dumps(document).encode()) as address:
        assert await forwarder.stats(address, TIMEOUT_S) == document


@pytest.mark.parametrize(
    ("fault", "status", "detail"),
    [
        (Garbage(), None, "not JSON"),
        (Status(status=503), 503, "answered 503"),
        (Hang(), None, "did not answer"),
    ],
)
async def test_statistics_of_a_broken_sfu_are_an_error(
    forwarder: Forwarder, sfu: SimulatedSfu, fault: Fault, status: int | None, detail: str
) -> None:
    await sfu.set_fault(fault)
    with pytest.raises(ForwardError, match=detail) as caught:
        await forwarder.stats(sfu.address, SHORT_TIMEOUT_S if "did not answer" in detail else TIMEOUT_S)
    assert caught.value.status == status


async def test_statistics_of_50000_brackets_are_an_error(forwarder: Forwarder) -> None:
    async with server_that_answers(b"[" * 50_000) as address:
        with pytest.raises(ForwardError, match="not JSON"):
            await forwarder.stats(address, TIMEOUT_S)


async def test_a_disconnect_is_posted_as_the_bare_token(forwarder: Forwarder, sfu: SimulatedSfu) -> None:
    leaving = token(sessionIdsByChannel={})
    await forwarder.disconnect(sfu.address, token=leaving, client="192.0.2.7", timeout_s=TIMEOUT_S)
    [call] = sfu.calls
    assert (call.method, call.path) == ("POST", "/v1/disconnect")
    assert call.claims["sessionIdsByChannel"] == {}
    assert call.headers["X-Forwarded-For"] == "192.0.2.7"
    with pytest.raises(ForwardError, match="answered 422"):
        await forwarder.disconnect(sfu.address, token="x.y.z", client="192.0.2.7", timeout_s=TIMEOUT_S)


# Out of bounds


class NoLoopback(AddressGuard):
    """Lets every address register, and connects to none of this machine: loopback is all a test has."""

    def permits(self, ip: IpAddress) -> bool:
        """Refuse loopback."""
        return not ip.is_loopback

    def check(self, address: str) -> None:
        """Let pass."""


async def test_a_name_that_leads_to_a_forbidden_address_is_not_connected_to(sfu: SimulatedSfu) -> None:
    async with Forwarder(NoLoopback()) as forwarder:
        with pytest.raises(ForwardError, match="cannot be reached"):
            await ask(forwarder, f"http://localhost:{sfu.port}")
    assert sfu.calls == []


@pytest.mark.parametrize(
    "host", ["2130706433", "127.1", "0x7f.1", "0x7f000001", "017700000001", "127.0.0.1."]
)
async def test_no_spelling_of_a_forbidden_address_is_connected_to(sfu: SimulatedSfu, host: str) -> None:
    async with Forwarder(NoLoopback()) as forwarder:
        with pytest.raises(ForwardError, match="cannot be reached"):
            await ask(forwarder, f"http://{host}:{sfu.port}")
    assert sfu.calls == []


async def test_an_address_that_may_not_register_is_not_connected_to(sfu: SimulatedSfu) -> None:
    async with Forwarder(AddressGuard(["http://10.0.*"])) as forwarder:
        with pytest.raises(ForwardError, match="not allowed") as caught:
            await ask(forwarder, sfu.address)
    assert isinstance(caught.value.__cause__, AddressNotAllowed)
    assert sfu.calls == []


async def test_proxies_of_the_environment_are_ignored(
    sfu: SimulatedSfu, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    async with Forwarder(AddressGuard()) as forwarder:
        assert (await ask(forwarder, sfu.address)).uuid


async def test_one_that_is_not_open_says_so(sfu: SimulatedSfu) -> None:
    with pytest.raises(RuntimeError, match="not open"):
        await ask(Forwarder(AddressGuard()), sfu.address)
