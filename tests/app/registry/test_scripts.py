"""Lua scripts: put together once, known to Redis by hash, and what happens when Redis fails."""

import asyncio
import dataclasses
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
import uvloop
from pydantic import SecretStr
from redis.asyncio import Connection, Redis
from redis.exceptions import ResponseError

from app.errors import RegistryUnavailable
from app.registry.client import close_client, connect
from app.registry.policy import Policy
from app.registry.scripts import LUA_DIRECTORY, Script, ScriptRunner, load_script, registry_errors
from app.registry.shipped_scripts import shipped_scripts
from app.settings.model import RedisSettings, Settings
from tests.support.engines import RedisServer
from tests.support.ports import HOST, free_port
from tests.support.proxy import FaultProxy, Faults

SHIPPED = sorted(path.stem for path in LUA_DIRECTORY.glob("*.lua"))
INCLUDES = {path.stem: path.read_text() for path in (LUA_DIRECTORY / "includes").glob("*.lua")}


def script(text: str) -> Script:
    return Script("test", text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def function_of(include: str) -> str:
    """The line that begins the function of an include, as it stands in a shipped script."""
    return next((line for line in INCLUDES[include].splitlines() if line.startswith("local function")), "")


ECHO = script("return {KEYS[1], ARGV[1], ARGV[2]}")
WHOLE_SECOND = 1.0


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_script_has_each_of_its_includes_before_its_use(name: str) -> None:
    lines = load_script(name).text.splitlines()
    assert not any("@include" in line for line in lines)
    for include, text in INCLUDES.items():
        if not (function := function_of(include)) or function not in lines:
            continue
        for other in re.findall(r'^--- @include "(\w+)"$', text, re.MULTILINE):
            assert function_of(other) in ["", *lines[: lines.index(function)]]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_script_is_known_by_the_hash_of_its_text(name: str) -> None:
    loaded = load_script(name)
    assert (loaded.name, loaded.sha) == (name, script(loaded.text).sha)


def test_every_include_is_used() -> None:
    shipped = [load_script(name).text for name in SHIPPED]
    assert [
        include for include in INCLUDES if not any(function_of(include) in text for text in shipped)
    ] == []


def test_an_include_that_two_others_need_comes_once(tmp_path: Path) -> None:
    (tmp_path / "twice.lua").write_text('--- @include "key"\n--- @include "key"\nreturn 1\n')
    assert load_script("twice", tmp_path).text == INCLUDES["key"] + "return 1\n"


def test_an_include_inside_a_function_stands_there_unless_the_script_has_it_already(tmp_path: Path) -> None:
    inside = 'if KEYS[1] then\n  --- @include "key"\nend\n'
    (tmp_path / "inside.lua").write_text(inside)
    (tmp_path / "both.lua").write_text('--- @include "key"\n' + inside)
    assert load_script("inside", tmp_path).text == "if KEYS[1] then\n" + INCLUDES["key"] + "end\n"
    assert load_script("both", tmp_path).text == INCLUDES["key"] + "if KEYS[1] then\nend\n"


def test_two_branches_have_an_include_each(tmp_path: Path) -> None:
    branch = 'if KEYS[1] then\n  --- @include "key"\nend\n'
    (tmp_path / "branches.lua").write_text(branch + branch)
    assert load_script("branches", tmp_path).text.count(INCLUDES["key"]) == 2


def test_a_script_or_include_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "lost.lua").write_text('--- @include "no_such_include"\n')
    for name in ("lost", "no_such_script"):
        with pytest.raises(FileNotFoundError, match="no_such"):
            load_script(name, tmp_path)


POLICY = Policy.from_settings(Settings())


def test_every_script_is_shipped_with_the_policy_in_it() -> None:
    scripts = {script.name: script.text for script in shipped_scripts(POLICY)}
    assert sorted(scripts) == SHIPPED
    assert [name for name, text in scripts.items() if "policy." in text] == []
    assert "node.load > 0.9 * margin" in scripts["select"]


def test_scripts_are_put_together_once_for_equal_settings() -> None:
    assert shipped_scripts(POLICY) is shipped_scripts(Policy.from_settings(Settings()))
    others = shipped_scripts(dataclasses.replace(POLICY, max_load=0.8))
    assert others.select.sha != shipped_scripts(POLICY).select.sha
    assert others.acquire_lease == shipped_scripts(POLICY).acquire_lease


def test_a_script_that_reads_what_no_policy_has_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "odd.lua").write_text("return policy.no_such_field\n")
    with pytest.raises(AttributeError, match="no_such_field"):
        load_script("odd", tmp_path, policy=POLICY)


@pytest.mark.parametrize(
    ("field", "value", "constant"),
    [
        ("strategy", "round-robin", "'round-robin'"),
        ("max_load", 0.25, "0.25"),
        ("weight_cpu", 1e-7, "1e-07"),
        ("choices", 2, "2"),
    ],
)
def test_a_policy_is_written_as_constants(field: str, value: Any, constant: str) -> None:
    assert dataclasses.replace(POLICY, **{field: value}).as_lua(field) == constant


@pytest.mark.parametrize(
    ("field", "value"), [("strategy", "load' .. redis.call('FLUSHALL')"), ("max_load", float("inf"))]
)
def test_nothing_but_constants_gets_into_a_script(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(POLICY, **{field: value}).as_lua(field)


# Running


async def test_a_script_gets_the_prefix_and_its_arguments(redis: Redis) -> None:
    runner = ScriptRunner(redis, "{sfu}:", WHOLE_SECOND)
    assert await runner.run(ECHO, "one", 2) == ["{sfu}:", "one", "2"]


async def test_a_script_that_redis_has_forgotten_is_sent_again(redis: Redis) -> None:
    runner = ScriptRunner(redis, "{sfu}:", WHOLE_SECOND)
    for _ in range(2):
        await redis.script_flush()
        assert await runner.run(ECHO, "one", 2) == ["{sfu}:", "one", "2"]
        assert await redis.script_exists(ECHO.sha) == [True]


async def test_a_script_that_is_wrong_is_our_defect_and_not_that_of_redis(redis: Redis) -> None:
    with pytest.raises(ResponseError):
        await ScriptRunner(redis, "{sfu}:", WHOLE_SECOND).run(script("return 1 + nil"))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        pytest.param("maxmemory", "1", id="out of memory"),
        pytest.param("min-replicas-to-write", "1", id="without its replicas"),
        pytest.param("replicaof", None, id="a replica by mistake"),
    ],
)
async def test_a_server_that_cannot_write_is_unavailable(
    own_server: RedisServer, setting: str, value: str | None
) -> None:
    if value is None:
        own_server.call("REPLICAOF", HOST, free_port())
    else:
        own_server.call("CONFIG", "SET", setting, value)
    write = script("return redis.call('SET', KEYS[1], 'x')")
    async with own_server.connect() as client:
        with pytest.raises(RegistryUnavailable, match=r"answers and refuses: .*\(test\)"):
            await ScriptRunner(client, "{sfu}:", WHOLE_SECOND).run(write)


async def test_a_dead_port_is_unavailable() -> None:
    client = connect(RedisSettings(url=SecretStr(f"redis://{HOST}:{free_port()}")))
    with pytest.raises(RegistryUnavailable, match=r"does not answer: the connection was refused \(test\)"):
        await ScriptRunner(client, "{sfu}:", WHOLE_SECOND).run(ECHO)
    await close_client(client)


async def test_a_redis_that_hangs_is_unavailable_in_time(redis_server: RedisServer) -> None:
    async with FaultProxy(redis_server.port) as proxy, Redis(host=HOST, port=proxy.port) as client:
        runner = ScriptRunner(client, "{sfu}:", 0.1)
        await runner.run(ECHO, 1, 2)
        proxy.faults = Faults(black_hole=True)
        async with asyncio.timeout(1):
            with pytest.raises(RegistryUnavailable, match=r"does not answer: no answer in time \(test\)"):
                await runner.run(ECHO, 1, 2)


async def test_a_connection_that_another_call_has_closed_is_no_defect() -> None:
    connection = Connection(host=HOST, port=free_port())
    with pytest.raises(RegistryUnavailable, match="select"):
        async with registry_errors("select", 1):
            await connection._send_packed_command([b"PING"])  # noqa: SLF001 - what a Cluster's client runs into


def test_a_connection_that_has_ended_is_no_defect_of_uvloop_s(redis_server: RedisServer) -> None:
    async def ping_on_an_ended_connection() -> None:
        async with Redis(host=HOST, port=redis_server.port, single_connection_client=True) as client:
            connection = client.connection
            assert connection is not None
            writer = connection._writer  # noqa: SLF001 - what a server that goes away leaves behind
            assert writer is not None
            writer.transport.abort()
            await asyncio.sleep(0.01)
            with pytest.raises(RegistryUnavailable, match="select"):
                async with registry_errors("select", 1):
                    await connection._send_packed_command([b"PING"])  # noqa: SLF001 - as redis-py does

    uvloop.run(ping_on_an_ended_connection())


async def test_another_runtime_error_is_raised_as_it_is() -> None:
    with pytest.raises(RuntimeError, match="of ours"):
        async with registry_errors("select", 1):
            raise RuntimeError("of ours")


async def test_a_defect_is_raised_as_it_is() -> None:
    with pytest.raises(AttributeError, match="writelines"):
        async with registry_errors("select", 1):
            getattr(asyncio, "writelines")  # noqa: B009 - the name alone does not make it a connection's


async def test_a_text_that_a_waiting_call_writes_is_read(redis: Redis) -> None:
    runner = ScriptRunner(redis, "{sfu}:", WHOLE_SECOND)
    write = script("return redis.call('SET', KEYS[1] .. 'channel:uuid', ARGV[1])")
    await redis.script_load(write.text)
    waiting = runner.run_later(write, "owner")
    await asyncio.sleep(0)
    assert await runner.text_of("{sfu}:channel:uuid") == "owner"
    await waiting
    assert await runner.text_of("{sfu}:channel:other") is None
