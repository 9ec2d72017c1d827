"""The channels of a simulated SFU, and the people who come to them and leave.

A new channel is empty. Its people arrive over the next seconds, stay a while and go; sessions, CPU and memory
follow. The state is computed on each reading: there is no timer, and the clock and the random source are arguments.
"""

import heapq
import itertools
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any, Final, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

CHANNEL_SIZE: Final = 100
"""People in one channel at most, as the real SFU's default."""

DEFAULT_CAPACITY: Final = 1000
"""Sessions at which the simulated machine is busy, when the SFU names no maximum."""

AUDIO_BIT_RATE: Final = 32_000
CAMERA_BIT_RATE: Final = 600_000
SCREEN_BIT_RATE: Final = 1_000_000


class Figures(BaseModel):
    """What a heartbeat reports; usages are fractions from 0 to 1. By alias, the roadmap's names."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, validate_by_name=True, extra="forbid")

    channels: int = Field(0, ge=0)
    sessions: int = Field(0, ge=0)
    cpu_usage: float = Field(0.0, ge=0, le=1)
    memory_usage: float = Field(0.0, ge=0, le=1)


@dataclass(frozen=True, slots=True)
class People:
    """How people behave: how many per channel on average, over how long they join, how long they stay."""

    per_channel: float = 6.0
    join_seconds: float = 20.0
    stay_seconds: float = 600.0


@dataclass(slots=True, eq=False)
class Channel:
    """One call. `created_at` is seconds since the epoch; `idle_since` is set while fewer than two are in it.

    Session ids count up from 1 and never come twice. `expected` people are still on their way.
    """

    uuid: str
    remote_address: str
    issuer: str
    web_rtc: bool
    created_at: float
    idle_since: float | None
    invited: int = 0
    expected: int = 0
    sessions: set[int] = field(default_factory=set)


_Action: TypeAlias = Callable[[Channel, int, float], None]


class ChannelBook:
    """All channels of one SFU, by uuid and by `remoteAddress::iss`."""

    def __init__(
        self,
        people: People,
        *,
        clock: Callable[[], float],
        random: Random,
        capacity: int = DEFAULT_CAPACITY,
        idle_seconds: float = 3600.0,
    ) -> None:
        self.by_uuid: dict[str, Channel] = {}
        self._by_issuer: dict[tuple[str, str], Channel] = {}
        self._people = people
        self._clock = clock
        self._random = random
        self._capacity = capacity
        self._idle_seconds = idle_seconds
        self._agenda: list[tuple[float, int, _Action, Channel, int]] = []
        self._order = itertools.count()

    def find(self, remote_address: str, issuer: str) -> Channel | None:
        """Return the channel of this caller. A channel that has become empty gets new people."""
        now = self._settle()
        channel = self._by_issuer.get((remote_address, issuer))
        if channel is not None and not channel.sessions and not channel.expected:
            self._invite(channel, now)
        return channel

    def create(self, remote_address: str, issuer: str, *, web_rtc: bool = True) -> Channel:
        """Return a new channel, even where the caller has one: the newest is then the one `find` returns."""
        now = self._settle()
        channel = Channel(str(uuid.uuid4()), remote_address, issuer, web_rtc, created_at=now, idle_since=now)
        self.by_uuid[channel.uuid] = channel
        self._by_issuer[remote_address, issuer] = channel
        self._plan(now + self._idle_seconds, self._close_if_idle, channel)
        self._invite(channel, now)
        return channel

    def disconnect(self, channel_uuid: str, session_ids: Iterable[int], *, remote_address: str) -> None:
        """Send people out of a channel; nothing happens unless `remote_address` made it."""
        now = self._settle()
        channel = self.by_uuid.get(channel_uuid)
        if channel is None or channel.remote_address != remote_address:
            return
        for session_id in session_ids:
            self._leave(channel, session_id, now)

    def clear(self) -> None:
        """Forget everything, as a restart does."""
        self.by_uuid.clear()
        self._by_issuer.clear()
        self._agenda.clear()

    def figures(self) -> Figures:
        """Return the load of this moment."""
        self._settle()
        sessions = sum(len(channel.sessions) for channel in self.by_uuid.values())
        busy = min(1.0, sessions / self._capacity)
        return Figures(
            channels=len(self.by_uuid),
            sessions=sessions,
            cpu_usage=self._usage(0.03 + 0.85 * busy, noise=0.01),
            memory_usage=self._usage(0.12 + 0.55 * busy, noise=0.002),
        )

    def stats(self) -> list[dict[str, Any]]:
        """Return the array of `GET /v1/stats`."""
        self._settle()
        return [_stats_of(channel) for channel in self.by_uuid.values()]

    def _usage(self, mean: float, *, noise: float) -> float:
        return round(min(1.0, max(0.0, self._random.gauss(mean, noise))), 4)

    def _invite(self, channel: Channel, now: float) -> None:
        channel.expected = self._guest_count()
        for _ in range(channel.expected):
            channel.invited += 1
            arrival = now + self._random.uniform(0.0, self._people.join_seconds)
            self._plan(arrival, self._join, channel, channel.invited)

    def _guest_count(self) -> int:
        if not self._people.per_channel:
            return 0
        return min(CHANNEL_SIZE, round(self._random.gammavariate(3.0, self._people.per_channel / 3.0)))

    def _plan(self, at: float, action: _Action, channel: Channel, session_id: int = 0) -> None:
        heapq.heappush(self._agenda, (at, next(self._order), action, channel, session_id))

    def _settle(self) -> float:
        """Do what was due until now, each thing at its own time, and return now."""
        now = self._clock()
        while self._agenda and self._agenda[0][0] <= now:
            at, _, action, channel, session_id = heapq.heappop(self._agenda)
            action(channel, session_id, at)
        return now

    def _join(self, channel: Channel, session_id: int, at: float) -> None:
        channel.expected -= 1
        channel.sessions.add(session_id)
        if len(channel.sessions) > 1:
            channel.idle_since = None
        stay = self._random.expovariate(1.0 / self._people.stay_seconds)
        self._plan(at + stay, self._leave, channel, session_id)

    def _leave(self, channel: Channel, session_id: int, at: float) -> None:
        channel.sessions.discard(session_id)
        if channel.idle_since is None and len(channel.sessions) <= 1:
            channel.idle_since = at
            self._plan(at + self._idle_seconds, self._close_if_idle, channel)

    def _close_if_idle(self, channel: Channel, _: int, at: float) -> None:
        if channel.idle_since is not None and channel.idle_since + self._idle_seconds <= at:
            self.by_uuid.pop(channel.uuid, None)
            self._by_issuer.pop((channel.remote_address, channel.issuer), None)


def _stats_of(channel: Channel) -> dict[str, Any]:
    created = datetime.fromtimestamp(channel.created_at, UTC).isoformat(timespec="milliseconds")
    return {
        "createDate": created.replace("+00:00", "Z"),
        "uuid": channel.uuid,
        "remoteAddress": channel.remote_address,
        "sessionsStats": _sessions_stats(len(channel.sessions)),
        "webRtcEnabled": channel.web_rtc,
    }


def _sessions_stats(count: int) -> dict[str, Any]:
    """Return the media of `count` people: half show themselves, and one in a larger call shares a screen."""
    cameras, screens = count // 2, int(count > 3)
    audio, camera, screen = count * AUDIO_BIT_RATE, cameras * CAMERA_BIT_RATE, screens * SCREEN_BIT_RATE
    rates = {"audio": audio, "camera": camera, "screen": screen, "total": audio + camera + screen}
    return {"count": count, "cameraCount": cameras, "screenCount": screens, "incomingBitRate": rates}
