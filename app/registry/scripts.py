"""Lua scripts: expanded from `lua/` once, sent by hash, sent whole again when Redis has forgotten them."""

import asyncio
import functools
import hashlib
import math
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TypeGuard, cast

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import NoScriptError, RedisClusterException, RedisError, ResponseError

from app.errors import RegistryUnavailable
from app.registry.pipelining import ScriptPipeline
from app.registry.policy import Policy
from app.registry.trouble import lost_connection, trouble_of

LUA_DIRECTORY: Final = Path(__file__).resolve().parents[2] / "lua"
"""Installed beside `app/`, in a checkout as in a wheel."""

_INCLUDE: Final = re.compile(r'^ *--- @include "([a-z_]+)"\n', re.MULTILINE)

_INCLUDES: Final = re.compile(r'((?:^ *--- @include "[a-z_]+"\n)+)', re.MULTILINE)

_POLICY_FIELD: Final = re.compile(r"policy\.(?<=\bpolicy\.)([a-z_]+)")
"""The literal comes first, because `re` searches for one far faster than for a word boundary."""

_SLOW_SHARE: Final = 4
"""A call that takes more than this part of its time is a slow one."""

_SPARE_CONNECTIONS: Final = 8
"""Connections of a client that stay free for plain commands and other runners."""

RedisClient = Redis | RedisCluster
Argument = str | bytes | int | float
Entries = list[tuple[str, dict[str, str]]]
"""Entries of a stream: id and fields."""


@dataclass(frozen=True, slots=True)
class Script:
    """One shipped script: its whole text and the SHA-1 that Redis knows it by."""

    name: str
    text: str
    sha: str


def utf8(text: str) -> bytes:
    """Encode text from outside as an argument: JSON can spell half a surrogate pair, UTF-8 cannot."""
    return text.encode(errors="replace")


def load_script(name: str, directory: Path = LUA_DIRECTORY, *, policy: Policy | None = None) -> Script:
    """Read `<directory>/<name>.lua` with each of its includes, and theirs, in its place.

    Includes at the head of a file come once, in front of the script. Redis makes their functions anew for every call.
    Includes inside a function stand there: their functions are made when that part of it runs.

    The values of the `policy` that the script reads become constants of its text. A script that reads the policy
    does not run without one.

    Raises:
        FileNotFoundError: the script, or an include that it names, does not exist.
        AttributeError: the script reads a field that a policy does not have.
    """
    text = _expand(_parts_of(directory / f"{name}.lua"), set())
    if policy is not None:
        text = _POLICY_FIELD.sub(lambda field: policy.as_lua(field[1]), text)
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    return Script(name, text, digest)


def _expand(parts: Sequence[str], seen: set[str]) -> str:
    """Return the text of a file with its includes that are not in `seen` yet; add those at its head to `seen`."""
    expanded = [parts[0]]
    for number in range(1, len(parts), 2):
        known = seen if number == 1 and not parts[0] else set(seen)
        expanded += [_included(name, known) for name in _INCLUDE.findall(parts[number])]
        expanded.append(parts[number + 1])
    return "".join(expanded)


def _included(name: str, seen: set[str]) -> str:
    if name in seen:
        return ""
    seen.add(name)
    return _expand(_parts_of_include(name), seen)


@functools.cache
def _parts_of_include(name: str) -> Sequence[str]:
    """As `_parts_of`. Read once: scripts have some 500 includes between them, of 60 files."""
    return _parts_of(LUA_DIRECTORY / "includes" / f"{name}.lua")


def _parts_of(file: Path) -> Sequence[str]:
    """The text of a file, cut before and after each block of includes."""
    return _INCLUDES.split(file.read_text(encoding="utf-8"))


class ScriptRunner:
    """Runs scripts for one namespace. A call that returns ran once on Redis; a call that raises may have run."""

    def __init__(self, client: RedisClient, prefix: str, timeout_s: float) -> None:
        self._client = client
        self._prefix = prefix
        self._timeout_s = timeout_s
        self._places = _places_of(client)
        self._pipeline = ScriptPipeline(client, timeout_s) if _has_sockets(client) else None
        self.answered_at = 0.0
        """When Redis last answered, in seconds of the monotonic clock."""
        self.slow_at = -math.inf
        """When a call was last slow, or had no answer in time."""

    async def run(self, script: Script, *arguments: Argument) -> Any:
        """Return the script's reply.

        Raises:
            RegistryUnavailable: Redis did not answer in time, or answered that it cannot serve. The script may
                have run all the same, so scripts that change something take a request id.
        """
        asked_at = time.monotonic()
        try:
            async with registry_errors(script.name, self._timeout_s), self._places:
                try:
                    reply = await self._client.evalsha(script.sha, 1, self._prefix, *arguments)
                except NoScriptError:
                    reply = await self._client.eval(script.text, 1, self._prefix, *arguments)
            self.answered_at = time.monotonic()
            return reply
        finally:
            self._note_time(asked_at)

    async def run_batched(self, script: Script, *arguments: Argument) -> Any:
        """As `run`, for short scripts of many requests: sent together with other calls (`app.registry.pipelining`).

        The client of a Cluster distributes commands over the nodes itself, and the embedded Redis has no
        connections: they get single calls.
        """
        if self._pipeline is None:
            return await self.run(script, *arguments)
        asked_at = time.monotonic()
        try:
            reply = await self._pipeline.call(script.sha, script.text, (self._prefix, *arguments))
        except (RedisError, OSError) as error:
            _give_up(script.name, error)
        finally:
            ended_at = self._note_time(asked_at)
        self.answered_at = ended_at
        return reply

    def run_later(self, script: Script, *arguments: Argument) -> asyncio.Future[Any]:
        """As `run_batched`, with the next pipeline; return the reply to come, for nobody to wait for.

        The future raises what Redis or its client says.
        """
        if self._pipeline is None:
            return asyncio.ensure_future(self.run(script, *arguments))
        return self._pipeline.call(script.sha, script.text, (self._prefix, *arguments), may_wait=True)

    async def entries_after(self, stream: str, after: str, count: int) -> Entries:
        """Return up to `count` entries of a stream after the id `after`, oldest first. Raises as `run`.

        Sent as `run_batched` does: readers ask several times a second, and redis-py takes 0.9 ms for each command
        of an idle replica.
        """
        if self._pipeline is None:
            async with registry_errors("xrange", self._timeout_s):
                found: Entries = await self._client.xrange(stream, min=f"({after}", count=count)  # type: ignore[assignment]
                return found
        entries = await self._send(self._pipeline, "XRANGE", stream, f"({after}", "+", "COUNT", count)
        return [(entry_id, dict(zip(fields[::2], fields[1::2], strict=True))) for entry_id, fields in entries]

    async def text_of(self, key: str) -> str | None:
        """Return the text at `key`. Raises as `run`.

        Sent as `run_batched` does, behind the calls that wait for the next pipeline: it sees what they write.
        """
        if self._pipeline is None:
            async with registry_errors("get", self._timeout_s):
                return cast("str | None", await self._client.get(key))
        return cast("str | None", await self._send(self._pipeline, "GET", key))

    async def _send(self, pipeline: ScriptPipeline, *words: Any) -> Any:
        try:
            return await pipeline.send(*words)
        except (RedisError, OSError) as error:
            _give_up(words[0].lower(), error)

    def _note_time(self, asked_at: float) -> float:
        """Note whether a call that ends now was slow. Returns the time."""
        now = time.monotonic()
        if now - asked_at > self._timeout_s / _SLOW_SHARE:
            self.slow_at = now
        return now

    def drop_idle(self) -> None:
        """Close the connections of pipelines that are not in use."""
        if self._pipeline is not None:
            self._pipeline.drop_idle()


def _has_sockets(client: RedisClient) -> TypeGuard[Redis]:
    """Whether `client` talks to one Redis over connections: no Cluster's, and not the embedded Redis."""
    return isinstance(client, Redis) and not type(client).__module__.startswith("fakeredis")


def _places_of(client: RedisClient) -> AbstractAsyncContextManager[object]:
    """Return the limit of calls at once: without a free connection, Sentinel and Cluster clients fail at once."""
    if isinstance(client, RedisCluster):
        most = int(client.nodes_manager.connection_kwargs["max_connections"])
    else:
        pool = getattr(client, "connection_pool", None)
        if not isinstance(pool, SentinelConnectionPool):
            return nullcontext()
        most = pool.max_connections
    return asyncio.Semaphore(max(1, most - _SPARE_CONNECTIONS))


@asynccontextmanager
async def registry_errors(what: str, timeout_s: float) -> AsyncIterator[None]:
    """End a call to Redis after `timeout_s`, and raise `RegistryUnavailable` when Redis does not serve it.

    The error of a script that fails is a defect of the gateway and says nothing about Redis: it passes unchanged.
    """
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except (RedisError, RedisClusterException, OSError) as error:  # TimeoutError is an OSError
        _give_up(what, error)
    except (AttributeError, RuntimeError) as error:
        # A Cluster's client that loses a node closes all connections, also those that other calls are opening.
        lost = lost_connection(error)
        if lost is None:
            raise
        _give_up(what, lost)


def is_registry_defect(error: Exception) -> bool:
    """Return whether `error` came from a script or command that failed, not from a Redis that is away."""
    return isinstance(error, RedisError)


def _give_up(what: str, error: Exception) -> NoReturn:
    if isinstance(error, ResponseError) and _is_defect(error):
        raise error
    raise RegistryUnavailable(f"{trouble_of(error)} ({what})") from error


def _is_defect(error: ResponseError) -> bool:
    """Whether the script failed, not the server (read-only, out of memory, no replicas, ...)."""
    return type(error) is ResponseError and "script" in str(error) and not trouble_of(error).answers
