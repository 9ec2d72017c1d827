"""Finds dead SFUs before their heartbeats expire: suspects are asked `/v1/noop`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from app.background import cancel_all
from app.logs import logger
from app.registry.losses import Suspect
from app.registry.registry import Registry
from app.upstream.client import Forwarder, ForwardError

log = logger(__name__)

_PAUSE_S: Final = 0.25
_AFTER_ANSWER_S: Final = 1.0
_OF_A_PROXY: Final = frozenset({502, 504})
"""What a proxy answers in place of an SFU that it does not reach."""

Verdict = Literal["answers", "silent", "refuses", "unknown"]


class SfuWatch:
    """Asks suspects, one task each, until they answer, report, or are ended as unreachable."""

    def __init__(
        self,
        registry: Registry,
        forwarder: Forwarder,
        unreachable_after_s: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`forwarder` reaches SFUs; an SFU that does not answer for `unreachable_after_s` seconds is down."""
        self._registry = registry
        self._forwarder = forwarder
        self._after_s = unreachable_after_s
        self._sleep = sleep
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def step(self) -> None:
        """Find suspects, and start a probe of each new one. Raises `RegistryUnavailable`."""
        for address, task in tuple(self._tasks.items()):
            if task.done():
                del self._tasks[address]
                task.result()
        for suspect in await self._registry.rescues.find_suspects():
            if suspect.address not in self._tasks:
                self._tasks[suspect.address] = asyncio.create_task(self._ask(suspect))

    async def stop(self) -> None:
        """End all probes."""
        await cancel_all(self._tasks.values())
        self._tasks = {}

    async def _ask(self, suspect: Suspect) -> None:
        """Probe until the suspect answers or has failed for long enough."""
        now = asyncio.get_running_loop().time
        since = now()
        while True:
            verdict = await self._probe(suspect.address)
            if verdict in ("answers", "unknown"):
                await self._sleep(_AFTER_ANSWER_S)
                return
            if now() - since >= (self._after_s / 3 if verdict == "refuses" else self._after_s):
                outcome = await self._registry.rescues.end_unreachable(suspect)
                log.warning("sfu_unreachable", sfu=suspect.address, probe=verdict, outcome=outcome)
                await self._sleep(0 if outcome == "ended" else _AFTER_ANSWER_S)
                return
            await self._sleep(min(_PAUSE_S, self._after_s / 6))

    async def _probe(self, address: str) -> Verdict:
        """Ask the SFU. Any answer of it is a sign of life; a fault of the gateway itself proves nothing."""
        try:
            answer = await self._forwarder.request("GET", address, "/v1/noop", self._after_s / 2)
        except ForwardError as error:
            if error.status is not None:
                return "answers"
            if error.blame == "never":
                return "unknown"
            return "refuses" if error.is_refused else "silent"
        return "silent" if answer.status in _OF_A_PROXY else "answers"
