"""What `GET /v1/stats` of an SFU says: one entry per channel."""

from dataclasses import dataclass
from typing import Final

from app.upstream.client import ForwardError

_MOST_SESSIONS: Final = 10**9
"""Of one channel. More, or fewer than none, would be refused in a heartbeat, or make a full SFU look empty."""


@dataclass(frozen=True, slots=True)
class ChannelStats:
    """One channel."""

    uuid: str
    sessions: int
    remote_address: str = ""
    """The caller's address as the SFU saw it; empty where the SFU does not say."""


def read_stats(document: object) -> tuple[ChannelStats, ...]:
    """Return the channels in the parsed answer. Raises `ForwardError` when it is not that of an SFU."""
    try:
        return tuple(_channel(entry) for entry in document)  # type: ignore[attr-defined]
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise ForwardError("answered statistics of another shape") from error


def sessions_in(channels: tuple[ChannelStats, ...]) -> int:
    """Return how many people are in `channels`."""
    return sum(channel.sessions for channel in channels)


def _channel(entry: dict[str, object]) -> ChannelStats:
    stats = entry["sessionsStats"]
    if not isinstance(stats, dict):
        raise TypeError("sessionsStats is no object")
    count = int(stats["count"])
    if not 0 <= count <= _MOST_SESSIONS:
        raise ValueError("count is no number of people")
    uuid, remote = entry.get("uuid"), entry.get("remoteAddress")
    return ChannelStats(
        uuid if isinstance(uuid, str) else "", count, remote if isinstance(remote, str) else ""
    )
