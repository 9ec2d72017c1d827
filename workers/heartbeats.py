"""Heartbeats from an SFU to its gateway: `POST {gateway}/v1/sfu`, the payload of roadmap phase 1.

One `Heartbeats` per SFU. It asks its gateways in turn, follows the interval that they answer, backs off while
none of them answers, and signs off at the end. It logs one line per change, not per heartbeat.

What is imported here, the agent has in its memory: no cryptography library, no second HTTP client.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from app.crypto.tokens import Key
from app.upstream.client import Forwarder, ForwardError
from app.upstream.setup_problems import WORDS

TOKEN_LIFE_SECONDS: Final = 60
"""The gateway takes at most 300."""

JITTER: Final = 0.1
"""Each interval is longer or shorter by up to this share, so that a fleet started at once spreads out."""

FIRST_RETRY_SECONDS: Final = 0.5
"""Pause after the first failure; it doubles with each further one, up to the interval."""

SIGN_OFF_SECONDS: Final = 5.0
"""How long signing off may take before it is given up: the gateway notices the silence anyway."""

logger = logging.getLogger(__name__)

Payload: TypeAlias = dict[str, Any]
Post: TypeAlias = Callable[[str, Payload, Mapping[str, str]], Awaitable[Any]]
"""Sends a payload with headers to a URL and returns the JSON of a 200; raises `HeartbeatFailed`."""

Measure: TypeAlias = Callable[[], Awaitable[None]]
"""Brings what `report` returns up to date; raises `HeartbeatFailed` when there is nothing to report."""


class HeartbeatFailed(Exception):
    """No heartbeat was taken: a gateway did not answer or refused, or there is nothing to report.

    Where a gateway refused, `status` and `code` are its answer's, and `clock_difference_s` is by how many seconds
    the clock of this machine is ahead of the gateway's, where the gateway said so.
    """

    def __init__(
        self, detail: str, status: int | None = None, code: str = "", clock_difference_s: int | None = None
    ) -> None:
        """`detail` must be free of secrets."""
        super().__init__(detail)
        self.status = status
        self.code = code
        self.clock_difference_s = clock_difference_s


@dataclass(frozen=True, slots=True)
class GatewayLink:
    """How to reach the gateways: base URLs in order of preference, the transport, the key that signs."""

    urls: tuple[str, ...]
    post: Post
    registration_key: Key | None = None
    ping_interval_ms: float = 10_000


def posting(client: Forwarder, timeout_s: float) -> Post:
    """Return a transport over `client`; one heartbeat to one gateway takes at most `timeout_s` seconds."""

    async def post(url: str, payload: Payload, headers: Mapping[str, str]) -> Any:
        parts = urlsplit(url)
        try:
            status, body, _ = await client.request(
                "POST",
                f"{parts.scheme}://{parts.netloc}",
                parts.path,
                timeout_s,
                headers=(("Content-Type", "application/json"), *headers.items()),
                data=json.dumps(payload).encode(),
            )
        except ForwardError as error:
            raise HeartbeatFailed(f"{url} {error}") from error
        reply = _json(body)
        if status != 200:
            raise _refusal(url, status, reply if isinstance(reply, dict) else {})
        if reply is None:
            raise HeartbeatFailed(f"{url} did not answer as a gateway")
        return reply

    return post


def _refusal(url: str, status: int, problem: dict[str, Any]) -> HeartbeatFailed:
    """What a gateway refused. Nothing but its code and the clocks is shown: the rest could repeat what was sent."""
    code, difference = problem.get("code"), problem.get("clockDifferenceSeconds")
    is_code = isinstance(code, str) and len(code) <= 32 and code.replace("_", "").isalpha() and code.islower()
    shown = str(code) if is_code else ""
    detail = f"{url} answered {status}" + (f" ({shown})" if shown else "")
    if not isinstance(difference, int) or isinstance(difference, bool):
        return HeartbeatFailed(detail, status, shown)
    direction = "behind" if difference < 0 else "ahead of"
    detail += f": the clock of this machine is {abs(difference)} s {direction} the gateway's"
    return HeartbeatFailed(detail, status, shown, difference)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


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

    def start(self) -> None:
        """Send the first heartbeat and go on until `halt` or `sign_off`."""
        if self._task is None:
            self._is_stopping = False
            self._wake.clear()
            self._task = asyncio.create_task(self._run())

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
            self.interval_ms = min(self._link.ping_interval_ms, next_ping_ms)

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
