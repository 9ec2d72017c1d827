"""Odoo's `POST /v1/disconnect`: sessions to end, spread over the SFUs that have their channels."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from app.auth.tenants import Tenant, Tenants
from app.crypto.claims import Claims, sessions_of
from app.crypto.sealing import UnsealError
from app.crypto.tokens import SFU_TOKEN_LIFE_SECONDS, Key
from app.errors import GatewayError, Refused, RegistryUnavailable
from app.logs import logger
from app.registry.placements import ChannelOwner
from app.upstream.client import Forwarder, ForwardError

log = logger(__name__)


class DisconnectRefused(GatewayError):
    """The body is not a token that any gateway key signed, or its claims are unfit. SFUs answer the same."""

    status = 422
    code = "credentials_invalid"
    title = "The token is not valid"


class ChannelDirectory(Protocol):
    """What a disconnect needs of the registry."""

    async def channel_owner(self, uuid: str) -> ChannelOwner | None:
        """Return where a channel is and whose it is."""

    async def key_of(self, address: str) -> Key | None:
        """Return a living SFU's key."""


@dataclass(frozen=True, slots=True)
class DisconnectOrder:
    """A verified disconnect: whose it is, and which sessions of which channels are to end."""

    tenant: Tenant
    sessions: Mapping[str, Any]
    claims: Claims


@dataclass(frozen=True, slots=True)
class Disconnected:
    """What became of a disconnect."""

    sfus: int
    """SFUs that were told."""
    failed: tuple[str, ...]
    """Addresses of the SFUs that did not take the disconnect."""
    unknown: int
    """Channels that no SFU has, or that another tenant has; ignored, as an SFU ignores them."""


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
        """`timeout_s` bounds the request to one SFU; `clock` is in seconds since the epoch."""
        self._tenants = tenants
        self._directory = directory
        self._forwarder = forwarder
        self._timeout_s = timeout_s
        self._clock = clock

    def read(self, token: str) -> DisconnectOrder:
        """Return what `token` orders.

        Raises:
            DisconnectRefused: no gateway key signed `token`, it has expired, or it names no sessions.
        """
        try:
            tenant, claims = self._tenants.claims_of(token)
            return DisconnectOrder(tenant, sessions_of(claims), claims)
        except Refused as error:
            raise DisconnectRefused(error.detail) from error

    async def forward(self, order: DisconnectOrder, client: str) -> Disconnected:
        """Tell each SFU which of its sessions to end; `client` is the caller's address.

        A tenant reaches its own channels only. The SFU is told the caller's address that the channel was created
        from, because odoo/sfu ends sessions of channels of the same address only.

        Raises:
            RegistryUnavailable: Redis is away, so no replica knows where the channels are.
        """
        parts: dict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
        for uuid, ids in order.sessions.items():
            channel = await self._directory.channel_owner(uuid)
            if channel is not None and channel.tenant == order.tenant.name:
                parts[channel.address, channel.caller or client][uuid] = ids
        told = await asyncio.gather(
            *(self._tell(address, order.claims, part, caller) for (address, caller), part in parts.items())
        )
        failed = {address for (address, _), is_told in zip(parts, told, strict=True) if not is_told}
        addresses = dict.fromkeys(address for address, _ in parts)
        known = sum(len(part) for part in parts.values())
        return Disconnected(
            len(addresses) - len(failed),
            tuple(address for address in addresses if address in failed),
            len(order.sessions) - known,
        )

    async def _tell(
        self, address: str, claims: dict[str, Any], sessions: dict[str, Any], client: str
    ) -> bool:
        try:
            key = await self._directory.key_of(address)
            if key is None:
                return False  # the SFU is gone, and its sessions with it
            own = claims | {
                "sessionIdsByChannel": sessions,
                "exp": int(self._clock()) + SFU_TOKEN_LIFE_SECONDS,
            }
            await self._forwarder.disconnect(
                address, token=key.sign(own), client=client, timeout_s=self._timeout_s
            )
        except (ForwardError, UnsealError, RegistryUnavailable) as error:
            log.warning("disconnect_failed", sfu=address, detail=str(error))
            return False
        return True
