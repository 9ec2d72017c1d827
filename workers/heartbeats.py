"""Heartbeats from an SFU to its gateway: `POST {gateway}/v1/sfu`, the payload of roadmap phase 1.

One `Heartbeats` per SFU. It asks its gateways in turn, follows the interval that they answer, backs off while
none of them answers, and signs off at the end. It logs one line per change, not per heartbeat.

What is imported here, the agent has in its memory: no cryptography library, no second HTTP client.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final, Literal, TypeAlias

from app.upstream.setup_problems import WORDS
from workers.gateway_link import GatewayLink, HeartbeatFailed, Payload

TOKEN_LIFE_SECONDS: Final = 60
"""The gateway takes at most 300."""

JITTER: Final = 0.1
"""Each interval is longer or shorter by up to this share, so that a fleet started at once spreads out."""

SHORTEST_MS: Final = 100.0
"""No gateway makes an SFU report more often."""

FIRST_RETRY_SECONDS: Final = 0.5
"""Pause after the first failure; it doubles with each further one, up to the interval."""

SIGN_OFF_SECONDS: Final = 5.0
"""How long signing off may take before it is given up: the gateway notices the silence anyway."""

logger = logging.getLogger(__name__)

Measure: TypeAlias = Callable[[], Awaitable[None]]
"""Brings what `report` returns up to date; raises `HeartbeatFailed` when there is nothing to report."""


class Heartbeats:
    """Reports one SFU. `report` returns the payload without `status` and is asked anew for each heartbeat.

    For observers: `interval_ms` is the shorter one of the SFU's own interval and what the gateway asked for,
    `is_told_to_drain` what the gateway said last, `taken_at` when it last took a heartbeat (seconds of the clock),
    `taken_count` and `failed_count` how many were taken and not, `failure` why the last one was not.
    """

    def __init__(
        self,
        report: Callable[[], Payload],
        link: GatewayLink,
        *,
        clock: Callable[[], float],
        random: Random,
        measure: Measure | None = None,
    ) -> None:
        """`clock` is in seconds since the epoch. `measure`, where there is one, runs before each heartbeat
        and not before the sign-off.
        """
        self.interval_ms = link.ping_interval_ms
        self.is_told_to_drain = False
        self.taken_at: float | None = None
        self.taken_count = 0
        self.failed_count = 0
        self.failure = ""
        self._report = report
        self._measure = measure
        self._link = link
        self._clock = clock
        self._random = random
        self._failures = 0
        self._preferred = 0
        self._told = ""
        self._is_stopping = False
        self._wake = asyncio.Event()
        self._sending = asyncio.Lock()
        self._warned: frozenset[str] = frozenset()
        self._task: asyncio.Task[None] | None = None

    @property
    def are_taken(self) -> bool:
        """Whether the latest heartbeat was taken."""
        return self.taken_at is not None and not self._failures

    def start(self, on_end: Callable[[], object] = lambda: None) -> None:
        """Send the first heartbeat and go on until `halt` or `sign_off`.

        `on_end` is called when they end, also by an error, so that a process does not go on without them.
        """
        if self._task is None:
            self._is_stopping = False
            self._wake.clear()
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(lambda _: on_end())

    def halt(self) -> None:
        """Stop at once without a word."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def sign_off(self) -> None:
        """Let a heartbeat in flight end, so that it cannot arrive after the farewell, then say `down`.

        Does nothing when no heartbeats are being sent.
        """
        if self._task is None:
            return
        self._is_stopping = True
        self._wake.set()
        try:
            async with asyncio.timeout(SIGN_OFF_SECONDS):
                await self._task
                await self._send("down")
            logger.info("signed off at %s", self._gateway)
        except TimeoutError:
            logger.warning("could not sign off: no gateway answered within %g s", SIGN_OFF_SECONDS)
        except HeartbeatFailed as error:
            logger.warning("could not sign off: %s", error)
        self._task = None

    async def beat(self) -> bool:
        """Send one heartbeat now; False when no gateway took it, or there was nothing to report."""
        try:
            async with self._sending:
                if self._measure is not None:
                    await self._measure()
                reply = await self._send("up")
        except HeartbeatFailed as error:
            self._note_failure(error)
            return False
        self._note_success()
        self._follow(reply)
        return True

    def hurry(self) -> None:
        """Send the next heartbeat now and not when it is due."""
        self._wake.set()

    async def report_gone(self) -> bool:
        """Say that the SFU is gone, after a heartbeat that is under way; false when no gateway took it."""
        try:
            async with self._sending:
                await self._send("down", reason="unreachable")
        except HeartbeatFailed as error:
            logger.warning("the SFU is gone and no gateway takes the report: %s", error)
            return False
        logger.warning("the SFU is gone: reported at %s", self._gateway)
        return True

    async def check(self) -> Any:
        """Ask a gateway to try the SFU and register nothing; return its reply. Raises `HeartbeatFailed`.

        A gateway of an older version refuses with 422 `invalid_field`, after it has accepted the credentials.
        """
        return await self._send("check")

    async def _run(self) -> None:
        while not self._is_stopping:
            self._wake.clear()
            await self.beat()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_seconds()):
                    await self._wake.wait()

    async def _send(self, status: Literal["up", "down", "check"], **more: str) -> Any:
        """Offer the report to each gateway, the last good one first, and return the first reply."""
        payload = {"status": status} | self._report() | more
        failure = HeartbeatFailed("no gateway is configured")
        for _ in self._link.urls:
            try:
                return await self._link.post(f"{self._gateway}/v1/sfu", payload, self._headers(payload))
            except HeartbeatFailed as error:
                failure = error
                self._preferred = (self._preferred + 1) % len(self._link.urls)
        raise failure

    @property
    def _gateway(self) -> str:
        return self._link.urls[self._preferred].rstrip("/")

    def _headers(self, payload: Payload) -> dict[str, str]:
        """Sign for this SFU and this moment: `sub` is its address, `iat` lets the gateway name a wrong clock."""
        key = self._link.registration_key
        if key is None:
            return {}
        now = int(self._clock())
        claims = {"sub": payload["address"], "iat": now, "exp": now + TOKEN_LIFE_SECONDS}
        return {"Authorization": f"Bearer {key.sign(claims)}"}

    def _follow(self, reply: Any) -> None:
        if not isinstance(reply, dict):
            return
        is_told_to_drain = reply.get("draining") is True
        if is_told_to_drain != self.is_told_to_drain:
            logger.info("the gateway drains this SFU" if is_told_to_drain else "the gateway's drain is over")
        self.is_told_to_drain = is_told_to_drain
        self._warn(reply.get("warnings"))
        next_ping_ms = reply.get("nextPingMs")
        if isinstance(next_ping_ms, bool) or not isinstance(next_ping_ms, int | float):
            return
        if next_ping_ms > 0:  # also excludes NaN
            self.interval_ms = min(self._link.ping_interval_ms, max(SHORTEST_MS, next_ping_ms))

    def _warn(self, warnings: object) -> None:
        """Log what the gateway has newly seen to be wrong with the SFU's set-up."""
        codes = frozenset(map(str, warnings)) if isinstance(warnings, list) else frozenset()
        for code, words in WORDS.items():
            if code in codes - self._warned:
                logger.warning("the gateway has seen %s: %s", code, words)
        self._warned = codes

    def _note_success(self) -> None:
        self._failures = 0
        self.failure = ""
        self.taken_count += 1
        self.taken_at = self._clock()
        self._tell(logging.INFO, f"{self._gateway} takes the heartbeats")

    def _note_failure(self, error: HeartbeatFailed) -> None:
        self._failures += 1
        self.failure = str(error)
        self.failed_count += 1
        self._tell(logging.WARNING, f"no heartbeat, will try again: {error}")

    def _tell(self, level: int, message: str) -> None:
        """Log `message` unless it was the last one."""
        if message != self._told:
            logger.log(level, "%s", message)
            self._told = message

    def _pause_seconds(self) -> float:
        interval = self.interval_ms / 1000
        if not self._failures:
            return interval * self._random.uniform(1 - JITTER, 1 + JITTER)
        backoff: float = FIRST_RETRY_SECONDS * 2 ** min(self._failures - 1, 16)
        return min(interval, backoff) * self._random.uniform(0.5, 1.0)
