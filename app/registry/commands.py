"""What every part of the registry asks Redis with."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, cast

from app.registry.client import drop_connections
from app.registry.keys import Keys
from app.registry.policy import Policy
from app.registry.scripts import Argument, RedisClient, Script, ScriptRunner, registry_errors
from app.registry.shipped_scripts import shipped_scripts


class RegistryCommands:
    """The keys, scripts and plain commands of one namespace. Every call may raise `RegistryUnavailable`."""

    def __init__(
        self,
        client: RedisClient,
        keys: Keys,
        policy: Policy,
        *,
        timeout_s: float,
        clock: Callable[[], int] | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """For tests: a `clock` in ms, without which scripts use Redis' own, and a `draw` from [0, 1)."""
        self.keys = keys
        self.policy = policy
        self.scripts = shipped_scripts(policy)
        self.runner = ScriptRunner(client, keys.prefix, timeout_s)
        self.draw = draw
        self._client = client
        self._timeout_s = timeout_s
        self._clock = clock

    async def run(self, script: Script, *arguments: Argument) -> Any:
        """Return the reply of a script whose first argument is the time."""
        return await self.runner.run(script, self._now(), *arguments)

    def run_batched(self, script: Script, *arguments: Argument) -> Awaitable[Any]:
        """As `run`, for scripts that requests run many times a second: sent together (`app.registry.pipelining`)."""
        return self.runner.run_batched(script, self._now(), *arguments)

    def run_later(self, script: Script, *arguments: Argument) -> asyncio.Future[Any]:
        """As `run_batched`, for what nobody waits for: see `ScriptRunner.run_later`."""
        return self.runner.run_later(script, self._now(), *arguments)

    async def send(self, command: str, *arguments: Any, **options: Any) -> Any:
        """Return the reply to a plain command, named as the client's method."""
        async with registry_errors(command, self._timeout_s):
            return await getattr(self._client, command)(*arguments, **options)

    async def drop_connections(self) -> None:
        """Let go of idle connections: behind Sentinel, new ones ask who is primary now.

        An old primary that was cut off goes on answering on the connections it has.
        """
        self.runner.drop_idle()
        await drop_connections(self._client)

    async def fleet_field(self, name: str) -> str | None:
        """Return a field of the hash of the whole fleet."""
        return cast("str | None", await self.send("hget", self.keys.fleet, name))

    def _now(self) -> Argument:
        return "" if self._clock is None else self._clock()
