"""Whether this process and the data in Redis use the same layout (`app.registry.keys.SCHEMA`).

A process checks at the start, where a refusal ends it, and then every minute. A later refusal is only logged: a
process that serves must not end for data that may cause no trouble.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, Self

from app.background import in_background
from app.errors import RegistryUnavailable
from app.logs import logger

log = logger(__name__)

_ASK_EVERY_S: Final = 60.0
_ASK_AGAIN_S: Final = 1.0


class SchemaRefused(Exception):
    """The data in Redis has a layout that this version must not work with; the message says what to do."""

    @classmethod
    def of(cls, code: str, found: str, namespace: str, oldest: int, newest: int) -> Self:
        """Return the error for a reply of claim_schema.lua: `newer` or `older`."""
        if code == "newer":
            known, remedy = f"up to {newest}", "run the version that wrote it"
        else:
            known, remedy = f"{oldest} and newer", "upgrade by the version between"
        return cls(
            f"the data in Redis (namespace {namespace}) has schema {found}, this version knows {known}: "
            f"{remedy}, or take a redis.namespace of its own"
        )


class SchemaWatch:
    """Claims the schema for one process."""

    def __init__(
        self,
        claim: Callable[[], Awaitable[None]],
        *,
        every_s: float = _ASK_EVERY_S,
        again_s: float = _ASK_AGAIN_S,
    ) -> None:
        self._claim = claim
        self._every_s = every_s
        self._again_s = again_s
        self._refused = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Claim at once, then again and again in the background for as long as the block runs.

        Redis away at the start is no refusal (fail-open): the process starts, and asks until it knows.

        Raises:
            SchemaRefused: at the start only.
        """
        pause_s = self._every_s
        try:
            await self._claim()
        except RegistryUnavailable:
            pause_s = self._again_s
        except SchemaRefused as refusal:
            log.critical("schema_refused", detail=str(refusal))
            raise
        async with in_background(self._claim_forever(pause_s)):
            yield

    async def _claim_forever(self, pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s)
            pause_s = await self._claim_again()

    async def _claim_again(self) -> float:
        """Claim, log a new refusal once, and return the pause until the next claim."""
        try:
            await self._claim()
            self._refused = ""
        except RegistryUnavailable:  # RegistryAvailability and the sweeper log it
            return self._again_s
        except SchemaRefused as refusal:
            if self._refused != str(refusal):
                log.warning("schema_unknown", detail=str(refusal))
                self._refused = str(refusal)
        except Exception:  # a defect: the next claim may find none
            log.exception("schema_not_claimed")
        return self._every_s
