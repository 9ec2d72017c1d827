"""Notices SFUs that are not set up as they must be behind a gateway, from what they answer.

None of it keeps an SFU from creating channels, so nothing else would say it (`app.upstream.setup_problems`). An SFU
that ignores `X-Forwarded-For` gives one call two channels as soon as two replicas ask for it; one that calls itself
by another URL than the registered one shows the same cause.

The registry keeps what was found, for `/v1/health`; the replica's log has it when it changes.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from app.errors import RegistryUnavailable
from app.logs import logger
from app.registry.placements import Placement
from app.upstream.addresses import parse_ip, unmapped
from app.upstream.client import Channel, Forwarder, ForwardError
from app.upstream.clocks import clock_ahead_s
from app.upstream.setup_problems import WORDS, SetupProblem
from app.upstream.stats import read_stats

log = logger(__name__)

AGAIN_SECONDS: Final = 600.0
"""An SFU is checked again after this time, because its settings may have changed."""

MAX_LOOKS: Final = 4
"""Looks that are under way at once; a channel of another SFU comes soon enough."""

MAX_SFUS: Final = 16_384

_STATS_TIMEOUT_S: Final = 2.0

Note = Callable[[str, int, Sequence[str]], Awaitable[object]]
"""Keeps what is wrong with an SFU: its address, its generation, the problems. Raises `RegistryUnavailable`."""


class SetupWatch:
    """Hears of every channel that an SFU has created."""

    def __init__(
        self,
        forwarder: Forwarder,
        note: Note,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`forwarder` asks for `/v1/stats`; `clock` is in seconds, `wall_clock` in seconds since the epoch."""
        self._forwarder = forwarder
        self._note = note
        self._clock = clock
        self._wall_clock = wall_clock
        self._looked_at: dict[str, tuple[int, float]] = {}
        self._logged: dict[str, dict[SetupProblem, str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def created(self, placement: Placement, channel: Channel, client: str, issuer: str) -> None:
        """Look at the SFU of a new channel in the background, unless that was done lately.

        `client` is the caller's address that the SFU was told.
        """
        now, address = self._clock(), placement.address
        generation, looked_at = self._looked_at.get(address, (-1, 0.0))
        is_known = generation == placement.generation and now - looked_at < AGAIN_SECONDS
        if is_known or placement.is_local or len(self._tasks) >= MAX_LOOKS:
            return
        if len(self._looked_at) >= MAX_SFUS:
            oldest = next(iter(self._looked_at))
            del self._looked_at[oldest]
            self._logged.pop(oldest, None)
        self._looked_at[address] = placement.generation, now
        found = _problems_of(channel, issuer)
        if ahead_s := clock_ahead_s(channel.date, self._wall_clock()):
            found["clock_off"] = f"{ahead_s} s"
        task = asyncio.create_task(self._look(placement, channel.uuid, client, found))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End the looks that are under way."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look(
        self, placement: Placement, uuid: str, client: str, found: dict[SetupProblem, str]
    ) -> None:
        """Fails open: an SFU that does not say as whom it sees the caller is not complained about."""
        seen = await self._seen_as(placement.address, uuid)
        if seen and _plain(seen) != _plain(client):
            found["forwarded_for_ignored"] = seen
        if found != self._logged.get(placement.address, {}):
            for problem, answered in found.items():
                log.warning(problem, sfu=placement.address, answered=answered, detail=WORDS[problem])
            self._logged[placement.address] = found
        with contextlib.suppress(RegistryUnavailable):  # the next look notes it
            await self._note(placement.address, placement.generation, sorted(found))

    async def _seen_as(self, address: str, uuid: str) -> str:
        try:
            channels = read_stats(await self._forwarder.stats(address, _STATS_TIMEOUT_S))
        except ForwardError:
            return ""
        return next((channel.remote_address for channel in channels if channel.uuid == uuid), "")


def _problems_of(channel: Channel, issuer: str) -> dict[SetupProblem, str]:
    """What an SFU's answer shows by itself, with what it said."""
    found: dict[SetupProblem, str] = {}
    if channel.said_url and channel.said_url.rstrip("/").lower() != channel.url:
        found["public_url_contradicted"] = channel.said_url
    url = urlsplit(channel.url)
    if issuer.startswith("https://") and url.scheme == "http" and not _is_this_machine(url.hostname or ""):
        found["url_not_https"] = channel.url
    return found


def _is_this_machine(host: str) -> bool:
    """Browsers take http of the machine that they run on for secure: a trial on one machine works."""
    ip = parse_ip(host)
    return ip.is_loopback if ip else host == "localhost" or host.endswith(".localhost")


def _plain(address: str) -> str:
    """An address without its IPv6 clothes, in one spelling."""
    ip = parse_ip(address)
    return address if ip is None else str(unmapped(ip))
