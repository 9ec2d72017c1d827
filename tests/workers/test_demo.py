"""The demo, whole: what it says is what a reader can do."""

import asyncio
import logging
import re
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from app.logs import Logger
from tests.support.plain_http import NO_CERTIFICATES
from tests.support.ports import HOST, free_port
from tests.support.processes import Process, answers
from tests.support.waiting import eventually
from workers.demo import REGIONS, demo_settings, run_demo
from workers.own_redis import BINARIES


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """The demo configures the process' logging; other tests get theirs back."""
    root = logging.getLogger()
    handlers, level, output = root.handlers[:], root.level, Logger.output
    yield
    root.handlers, root.level = handlers, level
    Logger.output = output


class Demo:
    """A running demo and what it has said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.port = free_port()

    async def run(self, *, sfus: int = 3, calls_per_minute: float = 0, duration_s: float = 60) -> None:
        await run_demo(
            sfus=sfus,
            port=self.port,
            calls_per_minute=calls_per_minute,
            duration_s=duration_s,
            say=self.said.append,
        )

    def command(self, path: str) -> str:
        """The curl command that was shown for `path`."""
        return next(line for line in self.said if "curl" in line and path in line)


@asynccontextmanager
async def running(**options: float) -> AsyncIterator[tuple[Demo, httpx.AsyncClient]]:
    """A demo that has said hello, and a client of its gateway."""
    demo = Demo()
    task = asyncio.create_task(demo.run(**options))  # type: ignore[arg-type]
    url = f"http://{HOST}:{demo.port}"
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_CERTIFICATES) as client:
            await eventually(lambda: demo.said or task.done(), timeout_seconds=10)
            yield demo, client
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_commands_it_shows_work() -> None:
    async with running() as (demo, client):
        await eventually(lambda: _selectable(client, 3))
        assert demo.command("/v1/health").split()[-1] == f"{client.base_url}/v1/health".replace("//v1", "/v1")
        found = re.search(r"Authorization: (.*?)'", demo.command("/v1/channel"))
        assert found is not None
        answers = [await client.get("/v1/channel", headers={"Authorization": found[1]}) for _ in range(2)]
        assert answers[0].json() == answers[1].json()
        assert answers[0].json().keys() == {"uuid", "url"}


async def test_its_sfus_are_spread_over_regions_and_report() -> None:
    async with running(sfus=5) as (_, client):
        await eventually(lambda: _selectable(client, 5))
        sfus = (await client.get("/v1/health")).json()["sfus"]
        assert sorted(sfu["region"] for sfu in sfus) == sorted([*REGIONS, REGIONS[0]])


async def test_a_simulated_odoo_makes_calls_and_each_is_told() -> None:
    async with running(calls_per_minute=6_000) as (demo, _):
        calls = await eventually(
            lambda: [line for line in demo.said if " call " in line and "http://" in line]
        )
        assert re.fullmatch(r"\d\d:\d\d:\d\d  call +\d+  ->  http://127\.0\.0\.1:\d+", calls[0])


async def test_it_ends_by_itself_and_leaves_nothing_behind() -> None:
    demo, started = Demo(), time.monotonic()
    await demo.run(duration_s=0.5, calls_per_minute=600)
    assert time.monotonic() - started < 10
    assert demo.said[-1].strip().startswith("Stopping")
    with socket.create_server((HOST, demo.port)):
        pass


async def test_a_port_that_is_taken_is_an_error() -> None:
    demo = Demo()
    with socket.create_server((HOST, demo.port)), pytest.raises(OSError, match="in use"):
        await demo.run()
    assert demo.said == []


def test_every_demo_has_keys_of_its_own() -> None:
    one, other = demo_settings(0), demo_settings(0)
    assert (one.key, one.registration.key) != (other.key, other.registration.key)
    assert one.bind == HOST


@pytest.mark.skipif(not any(map(shutil.which, BINARIES)), reason="no redis-server here")
async def test_troubles_are_seen_in_the_fleet_and_in_redis(tmp_path: Path) -> None:
    url = f"http://{HOST}:{free_port()}"
    script = "break:eu-west@0s,overload:us-east@0s,add:sa-east@0s"
    with _troubled_demo(url, tmp_path, sfus=4, calls=600, script=script) as process:
        async with httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_CERTIFICATES) as client:

            async def states() -> dict[str, set[str]]:
                sfus = (await client.get("/v1/health")).json()["sfus"]
                regions = {sfu["region"] for sfu in sfus}
                return {name: {s["state"] for s in sfus if s["region"] == name} for name in regions}

            async def is_troubled() -> bool:
                found = await states()
                return (
                    "ejected" in found.get("eu-west", ())
                    and "overloaded" in found.get("us-east", ())
                    and len((await client.get("/v1/health")).json()["sfus"]) == 5
                )

            await eventually(is_troubled, timeout_seconds=30)
        assert process.terminate() == 0
    assert "breaks: it answers 500 to every call" in process.output
    assert "joins" in process.output
    assert "calls placed on" in process.output
    assert "Traceback" not in process.output


@pytest.mark.skipif(not any(map(shutil.which, BINARIES)), reason="no redis-server here")
async def test_a_hung_redis_is_survived_and_ends_with_the_demo(tmp_path: Path) -> None:
    url = f"http://{HOST}:{free_port()}"
    with _troubled_demo(url, tmp_path, sfus=2, calls=0, script="hang@3s") as process:
        async with httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_CERTIFICATES) as client:

            async def is_away() -> bool:
                return bool((await client.get("/readyz")).json().get("mode") == "snapshot")

            await eventually(is_away, timeout_seconds=30)
        assert process.terminate() == 0
    assert "Redis hangs" in process.output
    assert "Traceback" not in process.output


def _troubled_demo(url: str, directory: Path, *, sfus: int, calls: int, script: str) -> Process:
    """Return a demo, not started yet, at `url` with troubles by `script`."""
    port = url.rpartition(":")[2]
    options = ["--port", port, "--sfus", str(sfus), "--calls", str(calls), "--script", script]
    return Process(
        [sys.executable, "-m", "app", "demo", *options],
        log=directory / "demo.log",
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        ready=answers(f"{url}/readyz"),
        ready_seconds=30,
    )


async def _selectable(client: httpx.AsyncClient, count: int) -> bool:
    return bool((await client.get("/v1/health")).json()["selectable"] == count)
