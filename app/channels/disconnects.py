"""Odoo's `POST /v1/disconnect`: sessions to end, spread over the SFUs that have their channels."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from app.auth.tenants import Tenants
from app.crypto.sealing import UnsealError
from app.crypto.tokens import Key
from app.errors import GatewayError, Refused, RegistryUnavailable
from app.logs import logger
from app.upstream.client import Forwarder, ForwardError

log = logger(__name__)

TOKEN_LIFE_SECONDS: Final = 60
MAX_CHANNELS: Final = 1_000


class DisconnectRefused(GatewayError):
    """The body is not a token that any gateway key signed. SFUs answer the same to a bad token."""

    status = 422
    code = "credentials_invalid"
    title = "The token is not valid"


class ChannelDirectory(Protocol):
    """What a disconnect needs of the registry."""

    async def sfu_of_channel(self, uuid: str) -> str | None:
        """Return the address of the SFU that has a channel."""

    async def key_of(self, address: str) -> Key | None:
        """Return a living SFU's key."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """What became of a disconnect."""

    sfus: int
    """SFUs that were told."""
    failed: tuple[str, ...]
    """Addresses of those that could not be told."""
    unknown: int
    """Channels that nobody has; ignored, as an SFU ignores them."""


class Disconnects:
    """Forwards disconnects."""

    def __init__(
        self,
        tenants: Tenants,
        directory: ChannelDirectory,
        forwarder: Forwarder,
        *,
        timeout_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take who may ask, where channels are, how SFUs are reached and for how long, a clock in seconds."""
        self._tenants = tenants
        self._directory = directory
        self._forwarder = forwarder
        self._timeout_s = timeout_s
        self._clock = clock

    async def forward(self, token: str, client: str) -> Disconnected:
        """Tell each SFU which of its sessions to end; `client` is the caller's address.

        Raises:
            DisconnectRefused: no gateway key signed `token`, it has expired, or it names no sessions.
            RegistryUnavailable: Redis is away, so nobody knows where the channels are.
        """
        sessions, claims = self._read(token)
        by_sfu: dict[str, dict[str, Any]] = defaultdict(dict)
        for uuid, ids in sessions.items():
            address = await self._directory.sfu_of_channel(uuid)
            if address is not None:
                by_sfu[address][uuid] = ids
        told = await asyncio.gather(
            *(self._tell(address, claims, part, client) for address, part in by_sfu.items())
        )
        failed = tuple(address for address, is_told in zip(by_sfu, told, strict=True) if not is_told)
        known = sum(len(part) for part in by_sfu.values())
        return Disconnected(len(by_sfu) - len(failed), failed, len(sessions) - known)

    def check(self, token: str) -> None:
        """Raise `DisconnectRefused` for a token that `forward` would refuse."""
        self._read(token)

    def _read(self, token: str) -> tuple[Mapping[str, Any], dict[str, Any]]:
        try:
            claims = self._tenants.claims_of(token)
        except Refused as error:
            raise DisconnectRefused(error.detail) from error
        sessions = claims.get("sessionIdsByChannel")
        if not isinstance(sessions, dict) or len(sessions) > MAX_CHANNELS:
            raise DisconnectRefused(
                f"sessionIdsByChannel must be an object of at most {MAX_CHANNELS} channels"
            )
        return sessions, claims

    async def _tell(
        self, address: str, claims: dict[str, Any], sessions: dict[str, Any], client: str
    ) -> bool:
        try:
            key = await self._directory.key_of(address)
            if key is None:
                return False  # the SFU is gone, and its sessions with it
            own = claims | {
                "sessionIdsByChannel": sessions,
                "exp": int(self._clock()) + TOKEN_LIFE_SECONDS,
            }
            await self._forwarder.disconnect(
                address, token=key.sign(own), client=client, timeout_s=self._timeout_s
            )
        except (ForwardError, UnsealError, RegistryUnavailable) as error:
            log.warning("disconnect_failed", sfu=address, detail=str(error))
            return False
        return True
