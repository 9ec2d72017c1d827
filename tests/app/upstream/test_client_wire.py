"""What a forwarder writes and reads, byte by byte: no header of anybody else's making, nothing remembered."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from app.upstream.addresses import AddressGuard
from app.upstream.client import Forwarder, ForwardError
from tests.app.upstream.test_client import ask
from tests.support.scripted_server import Peer, ScriptedServer, answer, answers_always, scripted_server

FIXED = {"User-Agent": "sfu-gateway", "Accept": "*/*", "Accept-Encoding": "identity"}

EVIL = ["\r\nX-Evil: 1", "\rX", "\nX", "\x00", "\x0b", "\x7f", "\u2028", "é", "\ud800"]


@pytest.fixture
async def forwarder() -> AsyncIterator[Forwarder]:
    """A forwarder that may go anywhere ordinary."""
    async with Forwarder(AddressGuard()) as forwarder:
        yield forwarder


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """A server that answers everything."""
    async with scripted_server(answers_always) as server:
        yield server


def says(text: bytes) -> AbstractAsyncContextManager[ScriptedServer]:
    """A server that answers each request with `text` and waits to be left."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(text)
        await peer.closed()

    return scripted_server(script)


# What is sent


async def test_a_channel_request_has_these_headers_and_no_others(
    forwarder: Forwarder, server: ScriptedServer
) -> None:
    await ask(forwarder, server.address, token="a.b.c", public_url="https://sfu.example.com:8443")
    [request] = server.requests
    assert request.line == "GET /v1/channel HTTP/1.1"
    assert request.headers == {
        "Host": f"127.0.0.1:{server.port}",
        **FIXED,
        "Authorization": "Bearer a.b.c",
        "X-Forwarded-For": "192.0.2.7",
        "X-Forwarded-Host": "sfu.example.com:8443",
        "X-Forwarded-Proto": "https",
    }


async def test_a_disconnect_has_these_headers_and_no_others(
    forwarder: Forwarder, server: ScriptedServer
) -> None:
    await forwarder.disconnect(server.address, token="a.b.c", client="192.0.2.7", timeout_s=1)
    [request] = server.requests
    assert (request.line, request.body) == ("POST /v1/disconnect HTTP/1.1", b"a.b.c")
    assert request.headers == {
        "Host": f"127.0.0.1:{server.port}",
        **FIXED,
        "X-Forwarded-For": "192.0.2.7",
        "Content-Type": "application/octet-stream",
        "Content-Length": "5",
    }


async def test_probes_and_statistics_say_nothing_of_callers(
    forwarder: Forwarder, server: ScriptedServer
) -> None:
    assert await forwarder.probe(server.address, 1)
    await forwarder.stats(server.address, 1)
    assert [request.line for request in server.requests] == [
        "GET /v1/noop HTTP/1.1",
        "GET /v1/stats HTTP/1.1",
    ]
    for request in server.requests:
        assert request.headers == {"Host": f"127.0.0.1:{server.port}", **FIXED}


async def test_a_query_is_passed_on_as_it_is(forwarder: Forwarder, server: ScriptedServer) -> None:
    await ask(forwarder, server.address, query="a=%E9&b=%7e&c+d=%2B")
    await ask(forwarder, server.address, query="")
    assert [request.line for request in server.requests] == [
        "GET /v1/channel?a=%E9&b=%7e&c+d=%2B HTTP/1.1",
        "GET /v1/channel HTTP/1.1",
    ]


@pytest.mark.parametrize("evil", EVIL)
async def test_a_query_cannot_say_more_than_a_query(
    forwarder: Forwarder, server: ScriptedServer, evil: str
) -> None:
    for query in (f"a={evil}", "a=b HTTP/1.1"):
        with pytest.raises(ForwardError, match="cannot be written"):
            await ask(forwarder, server.address, query=query)
    assert server.accepted == 0


@pytest.mark.parametrize("name", ["client", "token", "public_url"])
@pytest.mark.parametrize("evil", EVIL)
async def test_no_text_of_a_caller_becomes_a_header(
    forwarder: Forwarder, server: ScriptedServer, name: str, evil: str
) -> None:
    text = f"https://sfu.example{evil}" if name == "public_url" else f"text{evil}"
    with pytest.raises(ForwardError, match="cannot be written") as caught:
        await ask(forwarder, server.address, **{name: text})
    assert "text" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert server.accepted == 0


@pytest.mark.parametrize("address", ["http://127.0.0.1:8070\r\nX: y", "http://127.0.0.1/x", "ftp://sfu1", ""])
async def test_no_address_but_a_base_url_is_asked(forwarder: Forwarder, address: str) -> None:
    with pytest.raises(ForwardError, match="not the URL of an SFU"):
        await ask(forwarder, address)


async def test_cookies_and_credentials_of_the_environment_are_not_sent(
    forwarder: Forwarder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    async def give_cookies(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            await peer.send(answer(b"[]", b"Set-Cookie: id=1; Path=/"))

    async with scripted_server(give_cookies) as server:
        for _ in range(2):
            await forwarder.stats(server.address, 1)
        assert [sorted(request.headers) for request in server.requests] == [sorted({"Host", *FIXED})] * 2


@pytest.mark.parametrize("timeout_s", [0.0, -1.0])
async def test_without_time_for_an_answer_nothing_is_sent(
    forwarder: Forwarder, server: ScriptedServer, timeout_s: float
) -> None:
    await ask(forwarder, server.address)
    with pytest.raises(ForwardError, match="did not answer within"):
        await ask(forwarder, server.address, timeout_s=timeout_s)
    assert len(server.requests) == 1


# What is read


async def test_a_compressed_answer_is_not_unpacked(forwarder: Forwarder) -> None:
    text = answer(gzip.compress(b'{"uuid": "x", "url": "u"}'), b"Content-Encoding: gzip")
    async with says(text) as server:
        with pytest.raises(ForwardError, match="not JSON"):
            await ask(forwarder, server.address)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "cannot be reached: MalformedAnswer"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "cannot be reached: MalformedAnswer"),
        (answer(b"{}", b"X: " + b"x" * 40_000), "cannot be reached: MalformedAnswer"),
        (answer(b"{}", status=b"403 No"), "answered 403"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"{}", status=b"500 No"), "answered 500"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n" + b" " * 65_537, "more than 65536 bytes"),
    ],
)
async def test_what_an_sfu_must_not_answer_is_an_error_that_says_how(
    forwarder: Forwarder, text: bytes, detail: str
) -> None:
    async with says(text) as server:
        with pytest.raises(ForwardError, match=detail):
            await ask(forwarder, server.address)


async def test_an_answer_that_is_cut_short_is_an_error(forwarder: Forwarder) -> None:
    async def cut(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer()[:-1])

    async with scripted_server(cut) as server:
        with pytest.raises(ForwardError, match="cannot be reached: MalformedAnswer") as caught:
            await ask(forwarder, server.address)
    assert caught.value.status is None


async def test_a_head_that_drips_cannot_hold_a_request(forwarder: Forwarder) -> None:
    """Each byte comes in time; the whole answer does not."""

    async def drip(peer: Peer) -> None:
        await peer.request()
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000:
            await peer.send(bytes([byte]))
            await asyncio.sleep(0.02)

    async with scripted_server(drip) as server:
        with pytest.raises(ForwardError, match="did not answer within"):
            await ask(forwarder, server.address)


async def test_a_disconnect_that_meets_a_closing_connection_is_posted_again(forwarder: Forwarder) -> None:
    async def drop_the_second(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer())
        if peer.number == 0:
            await peer.request()

    async with scripted_server(drop_the_second) as server:
        for token in ("first", "second"):
            await forwarder.disconnect(server.address, token=token, client="192.0.2.7", timeout_s=1)
        assert [request.body for request in server.requests] == [b"first", b"second", b"second"]
