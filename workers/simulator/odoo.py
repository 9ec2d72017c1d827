"""A simulated Odoo: it asks the gateways for channels, each for a discussion of its own."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import httpx

from app.crypto.tokens import Key

FLOOD_PER_MINUTE: Final = 600
"""New calls of a region that is flooded."""

_TOKEN_LIFE_S: Final = 30
_TIMEOUT_S: Final = 5.0


def claims_of_call(number: int, life_s: int = _TOKEN_LIFE_S) -> dict[str, object]:
    """Return the claims of Odoo's token for one discussion."""
    return {"iss": f"https://odoo.example.com:channel:{number}", "exp": int(time.time()) + life_s}


@dataclass(slots=True)
class Tally:
    """How calls have ended: by SFU, and refusals by code."""

    placed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """Return what an operator wants to read, in one line."""
        refused = ", ".join(f"{count} {code}" for code, count in sorted(self.refused.items()))
        return f"{self.placed.total()} calls placed on {len(self.placed)} SFUs, {refused or 'none'} refused"


class SimulatedOdoo:
    """Asks for new channels, and counts what became of them."""

    def __init__(
        self, urls: Sequence[str], key: Key, random: Random, told: Callable[[int, str], object] | None = None
    ) -> None:
        """`told` hears of each call: its number, and where it went."""
        self.tally = Tally()
        self._urls = itertools.cycle(urls)
        self._key = key
        self._random = random
        self._told = told
        self._numbers = itertools.count(2)

    async def call_forever(self, per_minute: float, region: str = "") -> None:
        """Make calls, on average so many a minute; with a `region`, its people ask. Answers are not waited for.

        When it is cancelled, the calls under way end first: a connection that is given up as it opens stays open.
        """
        if per_minute == 0:
            return
        calls = set[asyncio.Task[None]]()
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=_TIMEOUT_S) as client:  # noqa: S501 - http
            try:
                while True:
                    await asyncio.sleep(self._random.expovariate(per_minute / 60))
                    call = asyncio.create_task(self._call(client, region))
                    calls.add(call)
                    call.add_done_callback(calls.discard)
            finally:
                await asyncio.gather(*calls)

    async def flood(self, region: str, seconds: float) -> None:
        """Make many calls from one region, for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self.call_forever(FLOOD_PER_MINUTE, region)
        except TimeoutError:
            return

    async def _call(self, client: httpx.AsyncClient, region: str) -> None:
        number = next(self._numbers)
        token = self._key.sign(claims_of_call(number))
        hint = f"?region={region}" if region else ""
        try:
            answer = await client.get(
                f"{next(self._urls)}/v1/channel{hint}", headers={"Authorization": f"Bearer {token}"}
            )
            document: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            self._note(number, f"nowhere: {type(error).__name__}", refused=type(error).__name__)
            return
        if answer.is_success:
            self.tally.placed[document["url"]] += 1
            self._note(number, document["url"])
        else:
            self._note(number, f"nowhere: {document['code']}", refused=document["code"])

    def _note(self, number: int, where: str, *, refused: str = "") -> None:
        if refused:
            self.tally.refused[refused] += 1
        if self._told is not None:
            self._told(number, where)
