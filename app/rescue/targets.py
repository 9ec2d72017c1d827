"""Which Odoo gets the announcement of a call, and with which key."""

import glob
import re
from collections.abc import Mapping
from typing import Final, Self

from app.crypto.tokens import Key
from app.errors import AddressNotAllowed
from app.registry.losses import LostCall
from app.settings.model import DEFAULT_TENANT, Settings
from app.upstream.addresses import AddressGuard, sfu_address

_ISSUER: Final = re.compile(r"(https?://[^/?#]+):channel:[0-9]+(#[0-9a-f]+)?")
"""The `iss` of Odoo, and the suffix of the registry where two channel keys share an issuer."""


class NotTold(Exception):
    """No Odoo may get the call. The text says why, and names neither the call nor a key."""


class Targets:
    """The Odoos that an operator has allowed."""

    def __init__(
        self, guard: AddressGuard, keys: Mapping[str, tuple[Key, ...]], fixed: Mapping[str, str]
    ) -> None:
        """`guard` knows the allowed base URLs; `keys` and `fixed` base URLs are by tenant."""
        self.guard = guard
        self._keys = keys
        self._fixed = fixed

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Read `[rescue]` and the tenants."""
        fixed = {tenant.name: tenant.rescue_url for tenant in settings.tenant if tenant.rescue_url}
        guard = AddressGuard(
            settings.rescue.allow + tuple(glob.escape(url) for url in fixed.values()),
            settings.registration.allow_networks,
            allow_link_local=settings.registration.allow_link_local,
        )
        keys = {DEFAULT_TENANT: settings.key} | {tenant.name: tenant.key for tenant in settings.tenant}
        return cls(guard, keys, fixed)

    def keys_of(self, tenant: str) -> tuple[Key, ...]:
        """Return the keys of a tenant, the signing key first; empty for a tenant that is gone."""
        return self._keys.get(tenant, ())

    def base_url_of(self, call: LostCall) -> str:
        """Return the base URL of the Odoo that has `call`. Raises `NotTold`."""
        if not self.keys_of(call.tenant):
            raise NotTold("the tenant has no key")
        if call.tenant in self._fixed:
            return self._fixed[call.tenant]
        issuer = _ISSUER.fullmatch(call.name.partition(":")[2])
        if issuer is None:
            raise NotTold("the issuer names no base URL")
        try:
            url = sfu_address(issuer[1])
            self.guard.check(url)
        except (ValueError, AddressNotAllowed):
            raise NotTold("the base URL is not allowed by rescue.allow") from None
        return url
