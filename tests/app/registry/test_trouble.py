"""Redis that is away, and Redis that answers and refuses."""

import ssl
from collections.abc import Sequence

import pytest
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from app.errors import RegistryUnavailable
from app.registry.client import close_client, connect
from app.registry.scripts import registry_errors
from app.registry.trouble import trouble_of, where
from app.settings.model import RedisSettings
from tests.support.engines import RedisServer
from tests.support.ports import HOST, free_port

WRITE = ("EVAL", "return redis.call('SET', KEYS[1], 1)", "1", "a")


async def trouble_at(url: str) -> tuple[str, bool]:
    """The code of the trouble that one write meets, and whether Redis answered."""
    client = connect(RedisSettings.model_validate({"url": url}))
    try:
        await client.execute_command(*WRITE)
    except (RedisError, OSError) as error:
        found = trouble_of(error)
        assert found.fix
        return found.code, found.answers
    finally:
        await close_client(client)
    raise AssertionError("the write succeeded")


@pytest.mark.parametrize(
    ("commands", "code"),
    [
        ([("CONFIG", "SET", "requirepass", "x")], "noauth"),
        ([("ACL", "SETUSER", "default", "-eval")], "noperm"),
        ([("ACL", "SETUSER", "default", "-set")], "noperm"),
        ([("CONFIG", "SET", "maxmemory", "1")], "oom"),
        ([("CONFIG", "SET", "min-replicas-to-write", "1")], "noreplicas"),
        ([("REPLICAOF", HOST, "1")], "readonly"),
        ([("REPLICAOF", HOST, "1"), ("CONFIG", "SET", "replica-serve-stale-data", "no")], "masterdown"),
    ],
)
async def test_a_redis_that_answers_and_refuses_is_told_from_one_that_is_away(
    own_server: RedisServer, commands: Sequence[tuple[str, ...]], code: str
) -> None:
    for command in reversed(commands):
        own_server.call(*command)
    assert await trouble_at(own_server.url) == (code, True)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'. script: 5118, on @user_script:7.", "oom"),
        (
            "Error running script (call to f_51): @user_script:7: @user_script: 7: -OOM command not allowed",
            "oom",
        ),
        (
            "Error running script (call to f_51): @user_script:7: @user_script: 7: -READONLY You can't write",
            "readonly",
        ),
        (
            "Error running script (call to f_51): @user_script:7: @user_script: 7: -MISCONF Redis is configured",
            "misconf",
        ),
        (
            "Error running script (call to f_51): @user_script:7: The user executing the script can't run this "
            "command or subcommand",
            "noperm",
        ),
        ("The user executing the script can't run this command or subcommand script: 51, on @u:7.", "noperm"),
        ("The user executing the script can't publish to the channel mentioned in the command", "noperm"),
    ],
)
async def test_what_redis_refuses_inside_a_script_is_no_defect(text: str, code: str) -> None:
    assert (trouble_of(ResponseError(text)).code, trouble_of(ResponseError(text)).answers) == (code, True)
    with pytest.raises(RegistryUnavailable, match="answers and refuses"):
        async with registry_errors("select", 1):
            raise ResponseError(text)


@pytest.mark.parametrize(
    "text",
    [
        "user_script:1: Script attempted to access nonexistent global variable 'x' script: 51, on @user_script:1.",
        "Error running script (call to f_51): @user_script:1: user_script:1: attempt to index a nil value",
        "WRONGTYPE Operation against a key holding the wrong kind of value script: 51, on @user_script:1.",
    ],
)
async def test_a_script_that_fails_is_a_defect(text: str) -> None:
    with pytest.raises(ResponseError):
        async with registry_errors("select", 1):
            raise ResponseError(text)


async def test_a_wrong_password_is_named(own_server: RedisServer) -> None:
    own_server.call("ACL", "SETUSER", "limited", "on", ">secret", "~*", "+@all")
    assert await trouble_at(f"redis://limited:other@{HOST}:{own_server.port}") == ("wrongpass", True)


async def test_a_database_that_there_is_not_is_named(own_server: RedisServer) -> None:
    assert await trouble_at(f"{own_server.url}/99") == ("db", True)


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("redis+cluster://{}", "Redis answers and refuses: it is no Cluster"),
        (
            "redis+sentinel://{}/main",
            "Redis answers and refuses: it lacks a command: it is too old, or no Sentinel",
        ),
        ("redis+sentinel://{nobody}/main", "Redis does not answer: no Sentinel names a primary"),
    ],
)
async def test_a_server_of_another_kind_is_named(own_server: RedisServer, url: str, cause: str) -> None:
    url = url.format(own_server.address, nobody=f"{HOST}:{free_port()}")
    client = connect(RedisSettings.model_validate({"url": url}))
    try:
        with pytest.raises((RedisError, RedisClusterException)) as caught:
            await client.execute_command(*WRITE)
    finally:
        await close_client(client)
    assert str(trouble_of(caught.value)) == cause


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (FileNotFoundError(2, "No such file"), "a file for TLS cannot be read (FileNotFoundError)"),
        (PermissionError(13, "Permission denied"), "a file for TLS cannot be read (PermissionError)"),
        (ssl.SSLCertVerificationError(), "TLS failed (SSLCertVerificationError)"),
    ],
)
def test_trouble_with_tls_is_no_trouble_of_the_network(error: Exception, cause: str) -> None:
    trouble = trouble_of(error)
    assert (trouble.code, trouble.answers, trouble.cause) == ("away", False, cause)
    assert "ssl_ options" in trouble.fix


async def test_a_port_without_a_server_is_away() -> None:
    assert await trouble_at(f"redis://{HOST}:{free_port()}") == ("refused", False)


async def test_a_name_that_does_not_resolve_is_away() -> None:
    assert await trouble_at("redis://redis.invalid") == ("unresolved", False)


async def test_a_hung_redis_is_away(own_server: RedisServer) -> None:
    own_server.pause()
    try:
        assert await trouble_at(own_server.url) == ("timeout", False)
    finally:
        own_server.resume()


def test_what_an_error_was_raised_from_counts() -> None:
    error = RegistryUnavailable("select")
    error.__cause__ = TimeoutError()
    assert str(trouble_of(error)) == "Redis does not answer: no answer in time"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://user:s3cret@redis.internal/3", "redis.internal:6379, database 3"),
        ("redis://[::1]:7000", "[::1]:7000, database 0"),
        ("redis+sentinel://one,two/main", "one:26379,two:26379 (Sentinel, service main)"),
        ("redis+cluster://:s3cret@one", "one:6379 (Cluster)"),
        (None, "embedded"),
    ],
)
def test_host_and_database_are_named_and_no_secret(url: str | None, expected: str) -> None:
    assert where(RedisSettings.model_validate({"url": url})) == expected
