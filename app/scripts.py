"""Lua scripts: expanded from `lua/` once, sent by hash, sent whole again when Redis has forgotten them."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import NoScriptError, RedisError

from app.errors import StoreUnavailable

LUA_DIRECTORY: Final = Path(__file__).resolve().parent.parent / "lua"
"""Installed beside `app/`, in a checkout as in a wheel."""

_INCLUDE: Final = re.compile(r'^--- @include "([a-z_]+)"\n', re.MULTILINE)

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

    def __init__(self, client: RedisClient, prefix: str) -> None:
        """Take a `client` that decodes replies and the `prefix` that scripts get as `KEYS[1]`."""
        self._client = client
        self._prefix = prefix

    async def run(self, script: Script, *arguments: Argument) -> Any:
        """Return the script's reply.

        Raises:
            StoreUnavailable: Redis did not answer in time, or answered that it cannot serve. The script may
                have run all the same; whoever changes something sends a request id.
        """
        try:
            try:
                return await self._client.evalsha(script.sha, 1, self._prefix, *arguments)
            except NoScriptError:
                return await self._client.eval(script.text, 1, self._prefix, *arguments)
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"{script.name}: {type(error).__name__}") from error
