"""A Redis of a demo's own: private, hung and released by its process id, gone with the demo."""

import shutil
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError
from redis.exceptions import TimeoutError as RedisTimeoutError

from workers import own_redis as module
from workers.own_redis import BINARIES, own_redis

needs_redis = pytest.mark.skipif(not any(map(shutil.which, BINARIES)), reason="no redis-server here")


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


@needs_redis
def test_it_answers_those_with_its_password_and_ends_with_the_block() -> None:
    with own_redis() as server:
        assert server is not None
        with Redis.from_url(server.url, decode_responses=True) as client:
            assert client.ping()
            pid = int(client.info("server")["process_id"])
            assert client.config_get("save")["save"] == ""
        port = int(server.url.rpartition(":")[2])
        with Redis(port=port) as stranger, pytest.raises(AuthenticationError):
            stranger.ping()
    assert not is_running(pid)


@needs_redis
def test_it_hangs_until_it_goes_on() -> None:
    with own_redis() as server:
        assert server is not None
        server.hang()
        with Redis.from_url(server.url, socket_timeout=0.2) as client:
            with pytest.raises(RedisTimeoutError):
                client.ping()
            server.go_on()
            client.connection_pool.disconnect()
            assert client.ping()


@needs_redis
def test_one_that_hangs_ends_with_the_block() -> None:
    with own_redis() as server:
        assert server is not None
        with Redis.from_url(server.url, decode_responses=True) as client:
            pid = int(client.info("server")["process_id"])
        server.hang()
    assert not is_running(pid)


def test_where_there_is_none_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BINARIES", ("no-such-redis-server",))
    with own_redis() as server:
        assert server is None
