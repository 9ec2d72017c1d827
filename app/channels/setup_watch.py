"""Notices SFUs that are not set up as they must be behind a gateway, from what they answer.

An SFU that ignores `X-Forwarded-For` gives one call two channels as soon as two replicas ask for it. One that calls
itself by another URL than the registered one shows the same cause. Neither keeps an SFU from serving: the replica
says so in its log, once per SFU and hour.
"""

import asyncio
import ipaddress
import time
from collections.abc import Callable
from typing import Final

from app.logs import logger
from app.upstream.client import Channel, Forwarder, ForwardError
from app.upstream.stats import read_stats

log = logger(__name__)

AGAIN_SECONDS: Final = 3600.0
"""An SFU is looked at again after this long: somebody may have changed its settings."""

MAX_LOOKS: Final = 4
"""Looks that are under way at once; a channel of another SFU comes soon enough."""

MAX_SFUS: Final = 16_384

_STATS_TIMEOUT_S: Final = 2.0


class SetupWatch:
    """Hears of every channel that an SFU has created (`Forwarder`'s `on_created`)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds."""
        self.forwarder: Forwarder | None = None
        """Asks for `/v1/stats`; set when there is one."""
        self.ignoring_forwarded_for: set[str] = set()
        """Addresses of SFUs that were seen to ignore `X-Forwarded-For`."""
        self._clock = clock
        self._looked_at: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def created(self, address: str, channel: Channel, client: str) -> None:
        """Take note of a new channel, and look at its SFU in the background unless that was done lately."""
        now = self._clock()
        if (
            now - self._looked_at.get(address, -AGAIN_SECONDS) < AGAIN_SECONDS
            or len(self._tasks) >= MAX_LOOKS
        ):
            return
        if len(self._looked_at) >= MAX_SFUS:
            del self._looked_at[next(iter(self._looked_at))]
        self._looked_at[address] = now
        if channel.said_url and channel.said_url.rstrip("/").lower() != channel.url:
            log.warning(
                "public_url_contradicted",
                sfu=address,
                registered=channel.url,
                answered=channel.said_url,
                detail="the SFU runs without PROXY, or its public URL is wrong; callers get the registered one",
            )
        if self.forwarder is not None:
            task = asyncio.create_task(self._look(self.forwarder, address, channel.uuid, client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End the looks that are under way."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look(self, forwarder: Forwarder, address: str, uuid: str, client: str) -> None:
        """Fails open: an SFU that does not say as whom it sees the caller is not complained about."""
        try:
            channels = read_stats(await forwarder.stats(address, _STATS_TIMEOUT_S))
        except ForwardError:
            return
        seen = next((channel.remote_address for channel in channels if channel.uuid == uuid), "")
        if not seen or _plain(seen) == _plain(client):
            self.ignoring_forwarded_for.discard(address)
            return
        self.ignoring_forwarded_for.add(address)
        log.warning(
            "forwarded_for_ignored",
            sfu=address,
            seen_as=seen,
            detail="the SFU runs without PROXY: behind two replicas one call can get two channels; set PROXY=1",
        )


def _plain(address: str) -> str:
    """An address without its IPv6 clothes, in one spelling."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(getattr(ip, "ipv4_mapped", None) or ip)
