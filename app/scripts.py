"""Lua scripts: expanded from `lua/` once, sent by hash, sent whole again when Redis has forgotten them."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import NoScriptError, RedisError, ResponseError

from app.errors import StoreUnavailable

LUA_DIRECTORY: Final = Path(__file__).resolve().parent.parent / "lua"
"""Installed beside `app/`, in a checkout as in a wheel."""

_INCLUDE: Final = re.compile(r'^--- @include "([a-z_]+)"\n', re.MULTILINE)

_UNABLE: Final = ("BUSY", "CLUSTERDOWN", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "READONLY")

RedisClient = Redis | RedisCluster
Argument = str | bytes | int | float


@dataclass(frozen=True, slots=True)
class Script:
    """One shipped script: its whole text and the SHA-1 that Redis knows it by."""

    name: str
    text: str
    sha: str


def load_script(name: str, directory: Path = LUA_DIRECTORY) -> Script:
    """Read `<directory>/<name>.lua` with each of its includes, and theirs, put in front once.

    Raises:
        FileNotFoundError: the script, or an include it names, does not exist.
    """
    text = _expand(directory / f"{name}.lua", LUA_DIRECTORY / "includes", set())
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    return Script(name, text, digest)


def _expand(path: Path, includes: Path, seen: set[str]) -> str:
    """The text of `path`, behind the includes it needs that are not in `seen` yet."""
    text = path.read_text(encoding="utf-8")
    before = []
    for name in _INCLUDE.findall(text):
        if name not in seen:
            seen.add(name)
            before.append(_expand(includes / f"{name}.lua", includes, seen))
    return "".join(before) + _INCLUDE.sub("", text)


class ScriptRunner:
    """Runs scripts for one namespace. Every call either ran once on Redis or raised."""

    def __init__(self, client: RedisClient, prefix: str, timeout_s: float) -> None:
        """Take a `client` that decodes replies, the `prefix` scripts get as `KEYS[1]`, a limit per call."""
        self._client = client
        self._prefix = prefix
        self._timeout_s = timeout_s
        self.answered_at = 0.0
        """When Redis last answered, on the event loop's clock."""

    async def run(self, script: Script, *arguments: Argument) -> Any:
        """Return the script's reply.

        Raises:
            StoreUnavailable: Redis did not answer in time, or answered that it cannot serve. The script may
                have run all the same; whoever changes something sends a request id.
        """
        async with store_errors(script.name, self._timeout_s):
            try:
                reply = await self._client.evalsha(script.sha, 1, self._prefix, *arguments)
            except NoScriptError:
                reply = await self._client.eval(script.text, 1, self._prefix, *arguments)
        self.answered_at = asyncio.get_running_loop().time()
        return reply


@asynccontextmanager
async def store_errors(what: str, timeout_s: float) -> AsyncIterator[None]:
    """Bound everything that a call to Redis may take, and say `StoreUnavailable` when it cannot be served.

    A script that fails by itself is a defect of ours and no reason to give Redis up: that error passes.
    """
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except ResponseError as error:
        if _is_defect(error):
            raise
        raise StoreUnavailable(f"{what}: {type(error).__name__}") from error
    except (RedisError, OSError) as error:  # TimeoutError is an OSError
        raise StoreUnavailable(f"{what}: {type(error).__name__}") from error


def _is_defect(error: ResponseError) -> bool:
    """Whether a script failed, and not the server under it (read-only, out of memory, no replicas, ...)."""
    return type(error) is ResponseError and "script" in str(error) and not str(error).startswith(_UNABLE)
