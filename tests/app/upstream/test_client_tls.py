"""Forwarding over TLS: to whom the name belongs, kept alive, within the time limit, closed without a trace."""

import asyncio
import ssl
from pathlib import Path

import pytest

from app.upstream.addresses import AddressGuard
from app.upstream.client import Channel, Forwarder, ForwardError
from tests.app.upstream.test_client import SHORT_TIMEOUT_S, TIMEOUT_S, ask
from tests.support.certificates import tls_pair
from tests.support.pools import Runner, on_each_loop
from tests.support.scripted_server import Peer, ScriptedServer, answers_always, scripted_server
from tests.support.simulated import running_sfu
from tests.support.waiting import eventually


def test_by_default_tls_believes_whom_the_system_believes(tmp_path: Path) -> None:
    """So not the server of a test."""
    serving, _ = tls_pair(tmp_path, ["127.0.0.1"])
    asyncio.run(expect_refusal(serving, None, "127.0.0.1"))


async def expect_refusal(serving: ssl.SSLContext, trusted: ssl.SSLContext | None, host: str) -> None:
    """See a forwarder that believes whom `trusted` says not send a byte to a server, and want a witness."""
    async with scripted_server(answers_always, tls=serving) as server:
        async with Forwarder(AddressGuard(), tls=trusted) as forwarder:
            with pytest.raises(
                ForwardError, match=r"cannot be reached: TLS: .*(certificate|mismatch)"
            ) as caught:
                await ask(forwarder, f"https://{host}:{server.port}")
        assert caught.value.blame == "with-witness"
        assert server.requests == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_server_that_proves_its_name_is_asked_on_one_connection(tmp_path: Path, host: str) -> None:
    serving, trusted = tls_pair(tmp_path, ["localhost", "127.0.0.1"])
    async with (
        scripted_server(answers_always, tls=serving) as server,
        Forwarder(AddressGuard(), tls=trusted) as forwarder,
    ):
        for _ in range(3):
            asked = ask(forwarder, f"https://{host}:{server.port}")
            assert await asked == Channel("x", "http://sfu")
        assert server.accepted == 1
        assert server.requests[0].headers["Host"] == f"{host}:{server.port}"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_server_that_proves_another_name_is_told_nothing(tmp_path: Path, host: str) -> None:
    serving, trusted = tls_pair(tmp_path, ["sfu.example.com"])
    await expect_refusal(serving, trusted, host)


@pytest.mark.parametrize(("host", "said"), [("localhost", "localhost"), ("127.0.0.1", None)])
async def test_the_server_is_told_which_name_is_meant(tmp_path: Path, host: str, said: str | None) -> None:
    serving, trusted = tls_pair(tmp_path, ["localhost", "127.0.0.1"])
    names: list[str | None] = []
    serving.sni_callback = lambda _, name, __: names.append(name)
    async with (
        scripted_server(answers_always, tls=serving) as server,
        Forwarder(AddressGuard(), tls=trusted) as forwarder,
    ):
        await ask(forwarder, f"https://{host}:{server.port}")
    assert names == [said]


async def test_plain_http_to_a_tls_port_is_an_error(tmp_path: Path) -> None:
    serving, _ = tls_pair(tmp_path, ["127.0.0.1"])
    async with (
        scripted_server(answers_always, tls=serving) as server,
        Forwarder(AddressGuard()) as forwarder,
    ):
        with pytest.raises(ForwardError, match="cannot be reached"):
            await ask(forwarder, f"http://127.0.0.1:{server.port}")


async def test_tls_to_a_plain_port_is_an_error_that_wants_a_witness() -> None:
    async with running_sfu() as (sfu, _), Forwarder(AddressGuard()) as forwarder:
        with pytest.raises(ForwardError, match="cannot be reached: TLS: wrong version number") as caught:
            await ask(forwarder, f"https://127.0.0.1:{sfu.port}")
    assert caught.value.blame == "with-witness"


@on_each_loop
def test_a_handshake_that_nobody_answers_ends_with_the_attempt(run: Runner) -> None:
    run(hang_in_a_handshake())


async def hang_in_a_handshake() -> None:
    """Meet a server that accepts connections and says nothing."""
    async with scripted_server(Peer.closed) as server, Forwarder(AddressGuard()) as forwarder:
        with pytest.raises(ForwardError, match="did not answer within"):
            async with asyncio.timeout(TIMEOUT_S):
                await ask(forwarder, f"https://127.0.0.1:{server.port}", timeout_s=SHORT_TIMEOUT_S)
        await eventually(lambda: not server.open)


@on_each_loop
@pytest.mark.parametrize("gives_up", [False, True], ids=["idle", "given-up"])
def test_connections_over_tls_are_closed_without_a_trace(tmp_path: Path, run: Runner, gives_up: bool) -> None:
    """An unclosed transport or an exception that nobody saw would fail the test as a warning."""
    serving, trusted = tls_pair(tmp_path, ["127.0.0.1"])
    said: list[object] = []

    async def use_and_close() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
        script = Peer.closed if gives_up else answers_always
        async with scripted_server(script, tls=serving) as server:
            async with Forwarder(AddressGuard(), tls=trusted) as forwarder:
                await use(forwarder, server, gives_up=gives_up)
            await eventually(lambda: not server.open)

    run(use_and_close())
    assert said == []


async def use(forwarder: Forwarder, server: ScriptedServer, *, gives_up: bool) -> None:
    """Ask for three channels at once, and leave when the server does not answer."""
    asked = [asyncio.create_task(ask(forwarder, f"https://127.0.0.1:{server.port}")) for _ in range(3)]
    if gives_up:
        await eventually(lambda: len(server.open) == 3)
        for task in asked:
            task.cancel()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError if gives_up else Channel}
