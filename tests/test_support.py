"""The harness itself: what every other test relies on."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from app.errors import SETTINGS_EXIT_CODE
from tests.support import guard
from tests.support.engines import RedisServer, ServerName, any_binary, required_binary
from tests.support.forking import ModuleProcess
from tests.support.ports import HOST, free_port
from tests.support.processes import Process, ProcessFailed, Readiness, accepts, prints
from tests.support.proxy import FaultProxy, Faults
from tests.support.topologies import cluster, sentinel_set
from tests.support.waiting import eventually, eventually_sync

ROOT = Path(__file__).parent.parent

SERVERS: list[ServerName] = ["redis", "valkey"]

SLEEP = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
COUNT = "import itertools, time\nfor n in itertools.count():\n    print(n, flush=True); time.sleep(0.005)"
PARENT = f"""
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid)
{SLEEP}
"""


class TestWaiting:
    async def test_eventually_gives_up_with_the_last_value(self) -> None:
        with pytest.raises(AssertionError, match=r"not within 0\.05 s; last seen: \[\]"):
            await eventually(list[int], timeout_seconds=0.05)


class TestPorts:
    def test_processes_never_hand_out_the_same_port(self, tmp_path: Path) -> None:
        code = f"from tests.support.ports import free_port; print(*[free_port() for _ in range(90)]); {SLEEP}"
        with ExitStack() as running:
            children = [
                running.enter_context(child(code, tmp_path / f"{n}.log", prints("up"), cwd=ROOT))
                for n in range(3)
            ]
            ports = [port for child in children for port in child.output.splitlines()[0].split()]
        assert len(set(ports)) == 3 * 90


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the child under test writes."""
    return tmp_path / "child.log"


def child(code: str, log: Path, ready: Readiness | None = None, **options: Any) -> Process:
    """A child that runs Python `code`."""
    return Process([sys.executable, "-c", code], log=log, ready=ready, **options)


def has_ended(process: psutil.Process) -> bool:
    """Whether a process that is not our child has ended, be it not yet reaped."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class TestProcess:
    def test_it_is_ready_when_its_port_accepts(self, log: Path) -> None:
        port = free_port()
        with http_server(port, log, accepts(port)):
            socket.create_connection((HOST, port), timeout=1).close()

    def test_an_early_end_is_reported_with_its_output(self, log: Path) -> None:
        process = child("raise SystemExit('no such setting')", log, prints("never"))
        with pytest.raises(ProcessFailed, match=r"(?s)child ended with status 1 .*no such setting"):
            process.start()

    def test_one_that_is_not_ready_in_time_is_reported_and_killed(self, log: Path) -> None:
        process = child(SLEEP, log, prints("never"), ready_seconds=0.5)
        with pytest.raises(ProcessFailed, match=r"(?s)child is not ready after 0\.5 s: .*up"):
            process.start()
        assert not process.is_running

    def test_terminate_kills_one_that_does_not_listen(self, log: Path) -> None:
        with child(STUBBORN, log, prints("up")) as process:
            assert process.terminate(grace_seconds=0.1) == -9

    def test_terminate_ends_a_paused_one(self, log: Path) -> None:
        with child(SLEEP, log, prints("up")) as process:
            process.pause()
            assert process.terminate() == -15

    def test_pause_stops_it_and_resume_lets_it_go_on(self, log: Path) -> None:
        with child(COUNT, log, prints("3")) as process:
            process.pause()
            eventually_sync(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
            at_pause = process.output
            time.sleep(0.1)
            assert process.output == at_pause
            process.resume()
            eventually_sync(lambda: len(process.output) > len(at_pause))

    @pytest.mark.parametrize("end", [Process.kill, Process.terminate])
    def test_what_it_started_ends_with_it(self, log: Path, end: Callable[[Process], int]) -> None:
        with child(PARENT, log, prints("up")) as process:
            grandchild = psutil.Process(int(process.output.split()[0]))
            end(process)
            eventually_sync(lambda: has_ended(grandchild))

    def test_it_ends_even_when_the_test_process_is_killed(self, log: Path) -> None:
        code = f"""
import pathlib, sys, time
from tests.support.processes import Process
print(Process([sys.executable, "-c", "{SLEEP}"], log=pathlib.Path("{log}.inner")).start().pid, flush=True)
time.sleep(60)
"""
        with child(code, log, prints("\n"), cwd=ROOT) as test_process:
            orphan = psutil.Process(int(test_process.output))
            test_process.kill()
            eventually_sync(lambda: has_ended(orphan))

    def test_it_inherits_path_but_no_settings(self, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SFU_GATEWAY_PORT", "1")
        code = "from os import environ as e; print('PATH' in e, e.get('SFU_GATEWAY_PORT'), e['GIVEN'])"
        process = child(code, log, env={"GIVEN": "yes"}).start()
        process.wait()
        assert process.output == "True None yes\n"


class TestModuleProcess:
    def test_a_fork_has_an_environment_and_a_status_of_its_own(self, log: Path) -> None:
        wrong = ModuleProcess("app", "serve", log=log, env={"SFU_GATEWAY_KEY": "n*t base64"}).start()
        assert wrong.wait(30) == SETTINGS_EXIT_CODE
        assert "SFU_GATEWAY_KEY" in wrong.output

    def test_a_fork_leads_its_group_and_has_the_status_of_the_signal_that_kills_it(self, log: Path) -> None:
        sleeping = ModuleProcess(
            "workers.simulator", "--sfus", "1", log=log, ready=prints('"address"')
        ).start()
        assert os.getpgid(sleeping.pid) == sleeping.pid
        sleeping.pause()
        eventually_sync(lambda: psutil.Process(sleeping.pid).status() == psutil.STATUS_STOPPED)
        assert sleeping.kill() == -signal.SIGKILL
        assert not sleeping.is_running

    def test_the_guard_leaves_a_fork_alone_that_has_ended(
        self, log: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        released: list[int] = []
        release = guard.release

        def note(group: int) -> None:
            released.append(group)
            release(group)

        monkeypatch.setattr(guard, "release", note)
        helping = ModuleProcess("app", "--help", log=log).start()
        assert helping.wait(60) == 0
        assert released == [helping.pid]

    def test_what_only_a_new_interpreter_reads_starts_one(self, log: Path) -> None:
        env = {"PYTHONVERBOSE": "1"}
        helping = ModuleProcess("app", "--help", log=log, env=env).start()
        assert helping.wait(60) == 0
        assert "import 'encodings'" in helping.output


def http_server(port: int, log: Path, ready: Readiness) -> Process:
    """Python's own file server, showing the directory of its log."""
    argv = [sys.executable, "-u", "-m", "http.server", "--bind", HOST, str(port)]
    return Process(argv, log=log, cwd=log.parent, ready=ready)


class TestEngines:
    @pytest.mark.parametrize("turn", [1, 2])
    async def test_each_test_finds_it_empty(self, redis: Redis, turn: int) -> None:
        assert await redis.dbsize() == 0
        with pytest.raises(NoScriptError):
            await redis.evalsha("e0e1f9fabfc9d4800c877a703b823ac0578ff8db", 0)  # "return 1"
        await redis.set("turn", turn)
        await redis.eval("return 1", 0)

    def test_a_server_started_again_is_empty_on_the_same_port(self, own_server: RedisServer) -> None:
        own_server.call("SET", "key", "value")
        own_server.kill()
        own_server.start()
        assert own_server.call("GET", "key") is None

    @pytest.mark.parametrize("ci", ["", "0", "false"])
    def test_a_missing_engine_skips_at_home(self, monkeypatch: pytest.MonkeyPatch, ci: str) -> None:
        monkeypatch.setenv("PATH", "")
        monkeypatch.setenv("CI", ci)
        with pytest.raises(pytest.skip.Exception, match="redis-server is not on PATH"):
            required_binary("redis")

    def test_a_missing_engine_fails_in_ci(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        monkeypatch.setenv("CI", "true")
        with pytest.raises(pytest.fail.Exception, match="redis-server is not on PATH"):
            required_binary("redis")

    def test_a_redis_that_is_too_old_is_as_good_as_missing(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        old = tmp_path / "redis-server"
        old.write_text("#!/bin/sh\necho 'Redis server v=6.0.16 sha=00000000:0'\n")
        old.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CI", raising=False)
        with pytest.raises(pytest.skip.Exception, match=r"older than Redis 6\.2"):
            required_binary("redis")

    def test_valkey_stands_in_for_redis(self, monkeypatch: pytest.MonkeyPatch) -> None:
        valkey = required_binary("valkey")
        monkeypatch.setenv("PATH", "")
        monkeypatch.delenv("SFU_CHAOS_ENGINE", raising=False)
        assert any_binary() == valkey


@pytest.mark.parametrize("name", SERVERS)
class TestTopologies:
    def test_sentinels_replace_a_killed_primary(self, name: ServerName, tmp_path: Path) -> None:
        with sentinel_set(name, tmp_path, down_after_ms=500) as group:
            primary, replica = group.servers
            assert group.primary() is primary
            assert primary.call("SET", "key", "value")
            assert primary.call("WAIT", 1, 1000) == 1
            primary.kill()
            eventually_sync(lambda: group.primary() is replica, timeout_seconds=20)
            assert replica.call("GET", "key") == "value"
            assert group.url == (
                "redis+sentinel://" + ",".join(f"{HOST}:{s.port}" for s in group.sentinels) + "/main"
            )

    def test_a_cluster_replaces_a_paused_primary(self, name: ServerName, tmp_path: Path) -> None:
        with cluster(name, tmp_path, node_timeout_ms=1000) as group:
            primary = group.primary_of("{sfu}:key")
            assert primary.call("SET", "{sfu}:key", "value")
            assert primary.call("WAIT", 1, 1000) == 1
            primary.pause()
            witness = next(server for server in group.servers if server is not primary)
            eventually_sync(
                lambda: group.primary_of("{sfu}:key", seen_by=witness) is not primary, timeout_seconds=20
            )
            successor = group.primary_of("{sfu}:key", seen_by=witness)
            assert successor.call("GET", "{sfu}:key") == "value"
            assert group.url == "redis+cluster://" + ",".join(f"{HOST}:{s.port}" for s in group.servers)


class Echo:
    """A server that sends back what it receives; `received` is all of it."""

    def __init__(self) -> None:
        self.received = b""
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        while data := await reader.read(64 * 1024):
            self.received += data
            writer.write(data)
        writer.close()


class Client:
    """One connection; a reply that does not come within half a second is a `TimeoutError`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, data: bytes) -> bytes:
        """Send `data` and return as many bytes of reply, or what comes before the connection ends."""
        self.writer.write(data)
        try:
            return await asyncio.wait_for(self.reader.readexactly(len(data)), 0.5)
        except asyncio.IncompleteReadError as ended:
            return ended.partial


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    """A client of `port`."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    """An echo server."""
    echo = Echo()
    server = await asyncio.start_server(echo.serve, HOST, 0)
    echo.port = server.sockets[0].getsockname()[1]
    yield echo
    server.close()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[FaultProxy]:
    """A proxy before the echo server."""
    async with FaultProxy(echo.port) as proxy:
        yield proxy


class TestFaultProxy:
    async def test_a_half_closed_connection_still_gets_its_reply(self, proxy: FaultProxy) -> None:
        async with connected(proxy.port) as client:
            client.writer.write(b"last words")
            client.writer.write_eof()
            assert await asyncio.wait_for(client.reader.read(), 1) == b"last words"

    async def test_latency_delays_replies_but_does_not_add_up(self, proxy: FaultProxy) -> None:
        async with connected(proxy.port) as client:
            await client.ask(b"before")
            proxy.faults = Faults(latency_seconds=0.2)
            began = time.monotonic()
            for _ in range(10):
                client.writer.write(b"request")
                await asyncio.sleep(0.01)
            await client.reader.readexactly(10 * len(b"request"))
            assert 0.29 <= time.monotonic() - began < 0.6

    async def test_a_black_hole_swallows_everything_without_a_word(
        self, proxy: FaultProxy, echo: Echo
    ) -> None:
        async with connected(proxy.port) as old:
            await old.ask(b"before")
            proxy.faults = Faults(black_hole=True)
            async with connected(proxy.port) as new:
                for client in (old, new):
                    with pytest.raises(TimeoutError):
                        await client.ask(b"lost")
        assert echo.received == b"before"

    async def test_a_healed_connection_stays_silent_only_if_something_was_swallowed(
        self, proxy: FaultProxy
    ) -> None:
        async with connected(proxy.port) as used, connected(proxy.port) as idle:
            assert await used.ask(b"1") + await idle.ask(b"1") == b"11"
            proxy.faults = Faults(black_hole=True)
            with pytest.raises(TimeoutError):
                await used.ask(b"2")
            proxy.faults = Faults()
            with pytest.raises(TimeoutError):
                await used.ask(b"3")
            assert await idle.ask(b"3") == b"3"

    async def test_a_black_hole_swallows_the_end_of_the_target(self, tmp_path: Path) -> None:
        with RedisServer(any_binary(), tmp_path) as server:
            async with FaultProxy(server.port) as proxy, connected(proxy.port) as client:
                assert await client.ask(b"PING\r\n") == b"+PONG\r"
                proxy.faults = Faults(black_hole=True)
                server.kill()
                with pytest.raises(TimeoutError):
                    await client.ask(b"PING\r\n")

    async def test_connections_are_reset(self, proxy: FaultProxy) -> None:
        async with connected(proxy.port) as client:
            await client.ask(b"before")
            proxy.reset_connections()
            with pytest.raises(ConnectionResetError):
                await client.ask(b"after")
        async with connected(proxy.port) as client:
            assert await client.ask(b"new") == b"new"

    async def test_connections_are_refused_until_it_listens_again(self, proxy: FaultProxy) -> None:
        async with connected(proxy.port) as old:
            await old.ask(b"before")
            await proxy.refuse()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(HOST, proxy.port)
            assert await old.ask(b"still open") == b"still open"
            await proxy.listen()
            async with connected(proxy.port) as new:
                assert await new.ask(b"new") == b"new"

    async def test_a_target_that_refuses_looks_like_a_reset(self) -> None:
        async with FaultProxy(free_port()) as proxy, connected(proxy.port) as client:
            with pytest.raises(ConnectionResetError):
                await client.ask(b"anyone?")

    async def test_a_drip_comes_at_its_pace(self, proxy: FaultProxy) -> None:
        proxy.faults = Faults(bytes_per_second=100)
        async with connected(proxy.port) as client:
            began = time.monotonic()
            client.writer.write(bytes(30))
            await client.reader.readexactly(1)
            assert time.monotonic() - began < 0.2
            await client.reader.readexactly(29)
            assert time.monotonic() - began >= 0.2

    async def test_a_cut_comes_after_exactly_so_many_bytes(self, proxy: FaultProxy) -> None:
        proxy.faults = Faults(cut_after_bytes=7)
        async with connected(proxy.port) as client:
            assert await client.ask(b"12345") == b"12345"
            assert await client.ask(b"67890") == b"67"

    async def test_a_lost_reply_takes_the_later_ones_along(self, proxy: FaultProxy, echo: Echo) -> None:
        proxy.faults = Faults(drop_replies=1)
        async with connected(proxy.port) as client:
            with pytest.raises(TimeoutError):
                await client.ask(b"1")
            proxy.faults = Faults()
            with pytest.raises(TimeoutError):
                await client.ask(b"2")
        assert (echo.received, proxy.lost_replies) == (b"12", 1)

    async def test_the_seed_decides_which_replies_are_lost(self, echo: Echo) -> None:
        async def answered(seed: int) -> list[bool]:
            async with FaultProxy(echo.port, seed=seed) as proxy:
                proxy.faults = Faults(drop_replies=0.5)
                return [not proxy.loses_reply() for _ in range(100)]

        assert await answered(1) == await answered(1) != await answered(2)
        assert 30 < sum(await answered(1)) < 70
