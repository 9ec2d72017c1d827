"""The SFU beside the agent: its figures, its set-up, and whether it is still the same process."""

import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil

from app.crypto.tokens import SFU_TOKEN_LIFE_SECONDS, Key
from app.upstream.client import Forwarder, ForwardError
from app.upstream.clocks import clock_ahead_s
from app.upstream.connection import Answer
from app.upstream.stats import ChannelStats, read_stats
from workers.agent.settings import AgentSettings

TIMEOUT_SECONDS: Final = 2.0
"""For one request to the SFU. A gateway gives it about as long to create a channel."""

MAX_STATS_BYTES: Final = 8 << 20

CHECK_ISSUER: Final = "sfu-gateway-agent:check"
"""The issuer of the one channel that `--check` asks for. An SFU gives one issuer one channel, so another check leaves
no second one. It stays empty, and the SFU closes it when it has been idle."""

CHECK_CALLER: Final = "192.0.2.1"
"""An address of no host (RFC 5737): where `/v1/stats` shows it, the SFU believes `X-Forwarded-For`."""

_KEY_REFUSED: Final = frozenset({401, 403, 422})


class WrongKey(Exception):
    """The SFU refuses what AUTH_KEY signs. The message says so without the key."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: `problem` is empty when all is well. A warning does not keep the SFU out."""

    name: str
    problem: str = ""
    is_warning: bool = False


class LocalSfu:
    """One SFU, as the agent asks it."""

    def __init__(self, client: Forwarder, settings: AgentSettings, *, clock: Callable[[], float]) -> None:
        """`clock` is in seconds since the epoch."""
        self._client = client
        self._url = settings.local_url
        self._public_url = settings.public_url or ""
        self._key = Key.from_base64(settings.auth_key.get_secret_value())
        self._clock = clock

    async def channels(self) -> tuple[ChannelStats, ...]:
        """Return its channels. Raises `ForwardError`: it does not answer as an SFU."""
        await self._get("/v1/noop")
        try:
            document = json.loads(await self._get("/v1/stats", MAX_STATS_BYTES))
        except (ValueError, RecursionError):
            raise ForwardError(f"{self._url}/v1/stats is not that of an SFU") from None
        return read_stats(document)

    async def is_gone(self) -> bool:
        """Whether its port is closed. An SFU that is slow or hangs is not gone."""
        try:
            await self._get("/v1/noop")
        except ForwardError as error:
            return error.is_refused
        return False

    async def check_key(self) -> Finding:
        """Have the SFU decide whether AUTH_KEY is its key, by a disconnect that disconnects nobody.

        Other answers than 200 and a refusal decide nothing: the SFU may not have that route. Returns what the answer
        says of the SFU's clock.

        Raises:
            WrongKey: it is not, or the SFU's clock is far ahead.
            ForwardError: the SFU does not answer.
        """
        expires = int(self._clock()) + SFU_TOKEN_LIFE_SECONDS
        answer = await self._disconnect(self._key.sign({"sessionIdsByChannel": {}, "exp": expires}))
        ahead_s = clock_ahead_s(answer.date, self._clock())
        if answer.status not in _KEY_REFUSED:
            return _clock_finding(ahead_s)
        without_expiry = await self._disconnect(self._key.sign({"sessionIdsByChannel": {}}))
        if without_expiry.status == HTTPStatus.OK:
            by = f"{ahead_s} s" if ahead_s else f"more than {SFU_TOKEN_LIFE_SECONDS} s"
            raise WrongKey(
                f"the SFU's clock is {by} ahead of this machine's, so every token has expired before it arrives"
            )
        raise WrongKey(
            f"AUTH_KEY is not this SFU's: it answered {answer.status} to a token that AUTH_KEY signed"
        )

    async def check_setup(self) -> list[Finding]:
        """Ask for a channel as a gateway does, and return what is wrong with its answer. Raises `ForwardError`."""
        expires = int(self._clock()) + SFU_TOKEN_LIFE_SECONDS
        channel = await self._client.create_channel(
            self._url,
            token=self._key.sign({"iss": CHECK_ISSUER, "exp": expires}),
            client=CHECK_CALLER,
            public_url=self._public_url,
            query="webRTC=false",
            timeout_s=TIMEOUT_SECONDS,
        )
        seen = next(
            (entry.remote_address for entry in await self.channels() if entry.uuid == channel.uuid), ""
        )
        return [self._public_url_finding(channel.said_url), _proxy_finding(seen)]

    def _public_url_finding(self, said: str) -> Finding:
        if not self._public_url or said.rstrip("/").lower() == self._public_url:
            return Finding("public URL")
        return Finding(
            "public URL",
            f"the SFU calls itself {said} and SFU_PUBLIC_URL is {self._public_url}: it runs without PROXY, or "
            "SFU_PUBLIC_URL is wrong. The gateway answers callers with SFU_PUBLIC_URL",
            is_warning=True,
        )

    async def _disconnect(self, token: str) -> Answer:
        return await self._client.request(
            "POST", self._url, "/v1/disconnect", TIMEOUT_SECONDS, data=token.encode()
        )

    async def _get(self, path: str, max_bytes: int = 64 * 1024) -> bytes:
        try:
            status, body, _ = await self._client.request(
                "GET", self._url, path, TIMEOUT_SECONDS, max_bytes=max_bytes
            )
        except ForwardError as error:
            raise ForwardError(f"{self._url} {error}", error.status) from error.__cause__
        if status != HTTPStatus.OK:
            raise ForwardError(f"{self._url}{path} answered {status}", status)
        return body


def _clock_finding(ahead_s: int) -> Finding:
    if not ahead_s:
        return Finding("clock")
    direction = "ahead of" if ahead_s > 0 else "behind"
    problem = f"the SFU's clock is {abs(ahead_s)} s {direction} this machine's: run NTP on both"
    return Finding("clock", problem, is_warning=True)


def _proxy_finding(seen: str) -> Finding:
    if seen in ("", CHECK_CALLER):
        return Finding("PROXY")
    return Finding(
        "PROXY",
        "the SFU ignores X-Forwarded-For: it runs without PROXY. It takes each gateway for another caller, so behind "
        "two of them one call can get two channels. Set PROXY=1 and keep its HTTP port out of strangers' reach",
        is_warning=True,
    )


class ProcessWatch:
    """Notices that the SFU was started again in place: its calls are gone, although it has hardly been away.

    Two signs, since an agent in a container of its own does not see the SFU's process: the process that listens on
    the SFU's port is another one, or every channel has vanished at once, one with people in it among them. An SFU
    keeps a channel for long after the last person has left.

    `instance` is that of the SFU's process where the agent sees it, so that another agent of the same process has the
    same one; else it is random.
    """

    def __init__(
        self,
        settings: AgentSettings,
        *,
        find: Callable[[AgentSettings], psutil.Process | None] | None = None,
    ) -> None:
        """`find` returns the process that listens on the SFU's port; `None` where it is not to be seen."""
        self.instance = secrets.token_hex(8)
        self._settings = settings
        self._find = find or listening_process
        self._process: psutil.Process | None = None
        self._is_first_look = True
        self._channels: tuple[ChannelStats, ...] = ()

    def look(self, channels: tuple[ChannelStats, ...]) -> bool:
        """Compare with the last look; whether the SFU is another process now, which then has another `instance`."""
        is_another = self._is_another_process() or _all_vanished(self._channels, channels)
        self._channels, self._is_first_look = channels, False
        if is_another:
            self.instance = _identity(self._process) or secrets.token_hex(8)
        return is_another

    def has_ended(self) -> bool:
        """Whether the process that the last look found has ended; false where it is not to be seen."""
        return self._process is not None and not self._process.is_running()

    def _is_another_process(self) -> bool:
        """Looking for a process costs milliseconds, so that happens at first and when the known one has gone."""
        if self._is_first_look:
            self._process = self._find(self._settings)
            self.instance = _identity(self._process) or self.instance
            return False
        if not self.has_ended():
            return False
        successor = self._find(self._settings)
        if successor is None:
            return False  # it is not back yet
        self._process = successor
        return True


def _identity(process: psutil.Process | None) -> str:
    """Return a digest of boot, process id and start time, which no other process has; empty where not to be read."""
    if process is None:
        return ""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    started = stat.rpartition(")")[2].split()[19]  # field 22 of proc(5): ticks since the boot
    return hashlib.sha256(f"{boot}/{process.pid}/{started}".encode()).hexdigest()[:16]


def _all_vanished(before: tuple[ChannelStats, ...], now: tuple[ChannelStats, ...]) -> bool:
    left = {channel.uuid for channel in now}
    had_people = any(channel.sessions for channel in before)
    return had_people and not any(channel.uuid in left for channel in before)


def listening_process(settings: AgentSettings) -> psutil.Process | None:
    """Return who listens on the SFU's port; `None` where that is on another machine or not to be seen."""
    parts = urlsplit(settings.local_url)
    if not _is_of_this_machine(parts.hostname or ""):
        return None
    port = parts.port or settings.port
    try:
        for connection in psutil.net_connections("tcp"):
            is_listening = connection.status == psutil.CONN_LISTEN and connection.pid
            if is_listening and getattr(connection.laddr, "port", None) == port:
                return psutil.Process(connection.pid)
    except (psutil.Error, OSError):
        return None
    return None


def _is_of_this_machine(host: str) -> bool:
    if host == "localhost" or host.startswith("127.") or host == "::1":
        return True
    return any(address.address == host for entries in psutil.net_if_addrs().values() for address in entries)
