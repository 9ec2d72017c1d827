"""The command line itself: documented, completed by shells, and clear about what is wrong."""

import base64
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError
from typer.testing import CliRunner, Result

from app.api.openapi import openapi_document
from app.api.routes import ROUTES
from app.cli.exits import MEANINGS, CommandError, Exit
from app.cli.main import cli
from app.cli.sources.redis import patient_of, redis_source
from app.cli.sources.source import settings_for
from app.crypto.tokens import Key
from app.registry.client import close_client
from app.registry.examination import (
    SKEW_ERROR_S,
    SKEW_WARNING_S,
    Patient,
    Severity,
    clock_skew,
    examine,
    gateway_clock,
    latency,
    memory,
    version,
)
from app.registry.registry import Registry
from app.settings.model import Settings
from docs.renderers.cli import command_page
from tests.support.engines import RedisServer
from tests.support.ports import HOST, free_port
from tests.support.proxy import FaultProxy, Faults
from tests.support.simulated import running_sfu

DOCS = Path(__file__).parents[3] / "docs" / "cli.md"
KEY = "cmVwbGFjZSBtZSwgSSBhbSBpbiB0aGUgbWFudWFsIDE="


def run(*words: str, says: str = "", **variables: str) -> Result:
    """Run a command in this process, with `SFU_GATEWAY_<name>` variables and no others."""
    environment = {f"SFU_GATEWAY_{name}": value for name, value in variables.items()}
    return CliRunner().invoke(cli, words, input=says, env=environment)


# The docs


def test_the_page_in_docs_is_the_rendered_one() -> None:
    assert DOCS.read_text(encoding="utf-8") == command_page(), (
        "run python -m docs.renderers.cli > docs/cli.md"
    )


def test_every_exit_code_is_documented() -> None:
    assert set(MEANINGS) == set(Exit)
    for code in Exit:
        assert f"| {code.value} | {MEANINGS[code]} |" in DOCS.read_text(encoding="utf-8")


def test_every_command_has_a_help_text() -> None:
    page = command_page()
    assert page.count("\n### ") >= 17
    assert "\n\nNone\n" not in page


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_it(shell: str) -> None:
    done = run("--show-completion", shell)
    assert (done.exit_code, "sfu-gateway" in done.stdout or "SFU_GATEWAY" in done.stdout) == (Exit.OK, True)


# Whom to ask


@pytest.mark.parametrize("words", [["sfu", "list"], ["explain"], ["events"], ["top"], ["doctor"]])
def test_without_anybody_to_ask_the_options_are_named(words: list[str]) -> None:
    done = run(*words)
    assert done.exit_code == Exit.USAGE
    assert done.stderr == "whom to ask? Give --gateway URL or --redis URL, or set SFU_GATEWAY_REDIS__URL\n"


def test_only_one_can_be_asked() -> None:
    done = run("sfu", "list", "--redis", "redis://a", "--gateway", "http://b")
    assert (done.exit_code, done.stderr) == (Exit.USAGE, "give --redis or --gateway, not both\n")


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis://:s3cret@host:port"])
def test_a_redis_url_that_is_none_is_named_and_not_shown(url: str) -> None:
    done = run("sfu", "list", "--redis", url)
    assert done.exit_code == Exit.USAGE
    assert done.stderr.startswith("--redis: ")
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize("url", ["ftp://localhost", "http://localhost:99999", "http://[::1", "localhost:x"])
def test_a_gateway_url_that_is_none_is_named(url: str) -> None:
    done = run("sfu", "list", "--gateway", url)
    assert done.exit_code == Exit.USAGE
    assert done.stderr.startswith("--gateway: ")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "127.0.0.1:9"])
def test_a_gateway_that_is_away_is_named_with_the_option(url: str) -> None:
    done = run("sfu", "list", "--gateway", url)
    assert done.exit_code == Exit.UNREACHABLE
    assert done.stderr == (
        "http://127.0.0.1:9 does not answer (connection refused): "
        "check that it runs, and the URL of --gateway\n"
    )


def test_a_redis_that_is_away_is_named_with_the_option() -> None:
    done = run("sfu", "list", "--redis", "redis://:s3cret@127.0.0.1:9/2")
    assert done.exit_code == Exit.UNREACHABLE
    assert done.stderr.startswith("127.0.0.1:9, database 2: Redis does not answer: ")
    assert "--redis" in done.stderr
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize("words", [["sfu", "drain", "a", "--deadline", "5x"], ["events", "--since", "-1"]])
def test_a_duration_that_is_none_is_named(words: list[str]) -> None:
    done = run(*words, "--gateway", "127.0.0.1:9")
    assert done.exit_code == Exit.USAGE
    assert f"'{words[-1]}' is no duration" in done.stderr
    assert words[-2] in done.stderr


def test_a_state_that_is_none_is_named_with_those_there_are() -> None:
    done = run("sfu", "list", "--state", "broken", "--gateway", "127.0.0.1:9")
    assert done.exit_code == Exit.USAGE
    assert "'broken' is no state: give selectable, half-open" in done.stderr


def test_a_wrong_setting_is_named() -> None:
    done = run("sfu", "list", "--redis", "redis://127.0.0.1", BALANCING__CHOICES="many")
    assert done.exit_code == Exit.SETTINGS
    assert done.stderr.startswith("SFU_GATEWAY_BALANCING__CHOICES")


def test_the_option_wins_over_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFU_GATEWAY_REDIS__URL", "redis://of-the-setting")
    assert _host(settings_for("", None)) == "redis://of-the-setting"
    assert _host(settings_for("redis://of-the-option", None)) == "redis://of-the-option"
    with pytest.raises(CommandError):
        settings_for("nonsense", None)


def _host(settings: Settings) -> str:
    assert settings.redis.url is not None
    return settings.redis.url.get_secret_value()


# Small commands


def test_a_new_key_has_32_bytes_and_is_another_each_time() -> None:
    first, second = run("keygen").stdout, run("keygen").stdout
    assert first != second
    assert len(base64.b64decode(first)) == 32


def test_a_token_is_signed_with_the_gateways_key() -> None:
    done = run("token", "--issuer", "me", "--life", "60", KEY=KEY)
    claims = Key.from_base64(KEY).claims_of(done.stdout.strip())
    assert claims["iss"] == "me"
    assert 55 < claims["exp"] - time.time() <= 60


def test_a_token_without_a_key_names_the_setting() -> None:
    done = run("token", "--registration", KEY=KEY)
    assert done.exit_code == Exit.SETTINGS
    assert done.stderr == "SFU_GATEWAY_REGISTRATION__KEY: required to sign a token\n"


def test_the_openapi_document_is_the_served_one() -> None:
    assert json.loads(run("openapi").stdout) == openapi_document(ROUTES)


def commands() -> list[tuple[str, Any]]:
    """Every command with its path."""
    root = typer.main.get_command(cli)
    groups = [("", root), ("sfu ", root.commands["sfu"])]  # type: ignore[attr-defined]
    return [
        (above + name, command)
        for above, group in groups
        for name, command in group.commands.items()
        if name != "sfu"
    ]


@pytest.mark.parametrize(("path", "command"), commands())
def test_every_command_has_examples_that_it_takes(path: str, command: Any) -> None:
    examples = [line.strip() for line in (command.epilog or "").splitlines()[2:]]
    assert examples
    for example in examples:
        words = shlex.split(example.partition("|")[0])
        assert words[: 1 + len(path.split())] == ["sfu-gateway", *path.split()]
        command.make_context(path, words[1 + len(path.split()) :])


def test_a_light_command_loads_neither_server_nor_clients() -> None:
    heavy = {
        "aiohttp", "fakeredis", "redis", "rich", "uvicorn", "httpx", "opentelemetry", "pydantic", "joserfc",
        "starlette", "structlog",
    }  # fmt: skip
    code = f"import sys, app.cli.main; print(*({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []


def test_a_command_that_asks_a_gateway_loads_no_registry() -> None:
    """Each of these is a tenth of a second of CPU or more, which every look at the fleet would cost."""
    unused = {
        "app.registry.registry", "app.settings.model", "fakeredis", "opentelemetry", "pydantic_settings", "redis",
        "rich", "starlette", "structlog",
    }  # fmt: skip
    code = (
        "import sys; from app.cli.main import cli\n"
        "try: cli(['sfu', 'list', '--gateway', '127.0.0.1:9'])\n"
        f"except SystemExit: print(*({unused} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.split(), "does not answer" in done.stderr) == ([], True)


_SERVE_AND_SAY_WHAT_WAS_LOADED = """
import asyncio, sys, uvicorn

async def open_and_close(app):
    async with app.router.lifespan_context(app):
        pass

def run(server):
    asyncio.run(open_and_close(server.config.app))
    server.started = True

uvicorn.Server.run = run

from app.cli.entry import main

sys.argv[1:] = ["serve"]
main()
print(*sys.modules)
"""


def test_a_replica_with_a_redis_loads_only_what_it_uses() -> None:
    """Each of these would take memory and time to start, and most of them bring others along."""
    settings = {"SFU_GATEWAY_KEY": KEY, "SFU_GATEWAY_REDIS__URL": "redis://127.0.0.1:9"}
    serve = [sys.executable, "-c", _SERVE_AND_SAY_WHAT_WAS_LOADED]
    done = subprocess.run(serve, env=os.environ | settings, capture_output=True, text=True, check=True)
    unused = {
        "aiohttp", "app.cli.tables", "fakeredis", "httpx", "hypothesis", "lupa", "maxminddb", "numpy",
        "opentelemetry", "rich", "typer", "valkey", "workers.agent.agent", "workers.conformance.runner",
        "workers.demo", "workers.simulator.fleet",
    }  # fmt: skip
    assert unused & set(done.stdout.split()) == set()


# The doctor's limits, on a real Redis


def patient(server: RedisServer, *, ahead_s: float = 0.0, timeout_ms: int = 10_000, url: str = "") -> Patient:
    """What the doctor sees from a machine whose clock is `ahead_s` ahead.

    Of `timeout_ms` he only hears: calls to a busy test machine get the time they need.
    """
    settings = Settings.model_validate({"redis": {"timeout_ms": timeout_ms}})
    client = Redis.from_url(url or server.url, decode_responses=True)
    registry = Registry.from_settings(client, Settings.model_validate({"redis": {"timeout_ms": 10_000}}))
    return Patient(client, registry, settings, clock=lambda: time.time() + ahead_s)


@pytest.mark.parametrize(
    ("ahead_s", "severity", "words"),
    [
        (0.0, Severity.OK, "Redis"),
        (SKEW_WARNING_S + 1, Severity.WARNING, "ahead of"),
        (-SKEW_ERROR_S - 1, Severity.ERROR, "behind"),
    ],
)
async def test_a_clock_that_is_off_is_noticed(
    redis_server: RedisServer, ahead_s: float, severity: Severity, words: str
) -> None:
    who = patient(redis_server, ahead_s=ahead_s)
    async with who.client:
        finding = await clock_skew(who)
    assert finding.severity == severity
    assert words in finding.found


@pytest.mark.parametrize(
    ("timeout_ms", "severity"), [(10_000, Severity.WARNING), (60, Severity.ERROR)], ids=["far", "too far"]
)
async def test_a_redis_that_is_far_away_is_noticed(
    redis_server: RedisServer, timeout_ms: int, severity: Severity
) -> None:
    async with FaultProxy(redis_server.port) as proxy:
        proxy.faults = Faults(latency_seconds=0.04)
        who = patient(redis_server, timeout_ms=timeout_ms, url=f"redis://{HOST}:{proxy.port}")
        async with who.client:
            finding = await latency(who)
    assert finding.severity == severity, finding


async def test_commands_wait_longer_for_redis_than_calls_do(own_server: RedisServer) -> None:
    async with FaultProxy(own_server.port) as proxy:
        proxy.faults = Faults(latency_seconds=0.15)
        redis = {"timeout_ms": 100, "url": f"redis://{HOST}:{proxy.port}"}
        settings = Settings.model_validate({"redis": redis})
        async with redis_source(settings) as source:
            assert await source.sfus() == []
        who = patient_of(settings)
        try:
            finding = await latency(who)
        finally:
            await close_client(who.client)
    assert (finding.severity, finding.fix) == (
        Severity.ERROR,
        "bring Redis nearer, or raise redis.timeout_ms",
    )


async def test_a_redis_that_is_nearly_full_is_an_error(own_server: RedisServer) -> None:
    who = patient(own_server)
    async with who.client:
        used = int((await who.info("memory"))["used_memory"])
        own_server.call("CONFIG", "SET", "maxmemory", used + 4096)
        finding = await memory(who)
    assert (finding.severity, finding.fix) == (Severity.ERROR, "raise maxmemory")


@pytest.mark.parametrize("engine_name", ["redis", "valkey"])
async def test_the_version_is_that_of_the_engine(request: pytest.FixtureRequest, engine_name: str) -> None:
    who = patient(request.getfixturevalue(f"{engine_name}_server"))
    async with who.client:
        finding = await version(who)
    assert finding.severity == Severity.OK
    assert finding.found.startswith(engine_name)


@pytest.mark.parametrize(
    ("ahead_s", "severity", "word"),
    [
        (0.0, Severity.OK, "the gateway"),
        (10.0, Severity.WARNING, "ahead of"),
        (-60.0, Severity.ERROR, "behind"),
    ],
)
async def test_a_clock_that_differs_from_the_gateways_is_found(
    ahead_s: float, severity: Severity, word: str
) -> None:
    async with running_sfu() as (server, _):  # any server that sends a Date
        finding = await gateway_clock(server.address, lambda: time.time() + ahead_s)
    assert (finding.check, finding.severity) == ("gateway clock", severity)
    assert word in finding.found


async def test_a_gateway_whose_clock_cannot_be_asked_is_a_warning() -> None:
    finding = await gateway_clock(f"http://{HOST}:{free_port()}")
    assert finding.severity == Severity.WARNING
    assert "connection refused" in finding.found


async def test_the_doctor_goes_on_when_redis_stops_answering(own_server: RedisServer) -> None:
    class Late(Patient):
        async def ask(self, *words: str | int) -> object:
            raise RedisTimeoutError

    settings = Settings.model_validate({"redis": {"url": own_server.url}})
    async with Redis(port=own_server.port, decode_responses=True) as client:
        late = Late(client, Registry.from_settings(client, settings), settings)
        found = {finding.check: finding.found async for finding in examine(late)}
    assert found["version"] == "could not be asked: Redis does not answer: no answer in time"
    assert {"latency", "scripts", "clock skew"} <= found.keys()
