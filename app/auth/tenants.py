"""Who may ask for channels: one Odoo, or several, each with its keys, its region and its limits."""

import base64
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from app.crypto.tokens import Claims, Key, check_times, decode_base64, read_claims
from app.errors import CredentialsInvalid, InvalidField, IssuerMissing
from app.settings.model import DEFAULT_TENANT, Settings

MAX_ISSUER_CHARACTERS = 1024


@dataclass(frozen=True, slots=True)
class Tenant:
    """One caller of channels."""

    name: str
    keys: tuple[Key, ...]
    region: str | None = None
    """The region its channels prefer when the request says none."""
    region_allow: tuple[str, ...] | None = None
    """Regions its channels may be placed in; `None` is all."""
    max_channels: int | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified channel request: who asks, for which issuer, with which claims."""

    tenant: Tenant
    issuer: str
    claims: Claims


class Tenants:
    """All tenants, found by the key that signed a token."""

    def __init__(self, tenants: tuple[Tenant, ...], clock: Callable[[], float]) -> None:
        """Take the tenants and a `clock` in seconds since the epoch."""
        self._tenants = tenants
        self._clock = clock

    @classmethod
    def from_settings(cls, settings: Settings, clock: Callable[[], float]) -> Self:
        """Build the default tenant from `key`, and the others from `[[tenant]]`."""
        everywhere = settings.balancing.region_allow
        tenants = [Tenant(DEFAULT_TENANT, settings.key, region_allow=everywhere or None)]
        for entry in settings.tenant:
            allowed = entry.region_allow or everywhere
            if entry.region_allow and everywhere:
                allowed = tuple(region for region in entry.region_allow if region in everywhere)
            limited = bool(entry.region_allow or everywhere)
            tenants.append(
                Tenant(entry.name, entry.key, entry.region, allowed if limited else None, entry.max_channels)
            )
        return cls(tuple(tenants), clock)

    def verify(self, token: str) -> Caller:
        """Return who signed `token` and what for.

        Raises:
            CredentialsInvalid, CredentialsExpired: nobody we know, malformed, or too late.
            IssuerMissing: genuine, without an `iss`.
        """
        tenant, claims, key = self._read(token)
        check_times(claims, now=self._clock())
        issuer = claims.get("iss")
        if not isinstance(issuer, str) or not 0 < len(issuer) <= MAX_ISSUER_CHARACTERS:
            raise IssuerMissing(f"iss must be a text of 1 to {MAX_ISSUER_CHARACTERS} characters")
        return Caller(tenant, issuer, _without_seed(claims, key))

    def claims_of(self, token: str) -> Claims:
        """Return the claims of a token of any tenant that has not expired. Raises as `verify` does."""
        _, claims, _ = self._read(token)
        check_times(claims, now=self._clock())
        return claims

    def named(self, name: str | None) -> Tenant:
        """Return the tenant called `name`, or for `None` the default one. Raises `InvalidField`."""
        for tenant in self._tenants:
            if tenant.name == (name or DEFAULT_TENANT):
                return tenant
        raise InvalidField("tenant", "there is no tenant of this name")

    def _read(self, token: str) -> tuple[Tenant, Claims, Key]:
        failure = CredentialsInvalid("no key is configured")
        for tenant in self._tenants:
            try:
                claims, key = read_claims(token, tenant.keys)
            except CredentialsInvalid as error:
                failure = error
            else:
                return tenant, claims, key
        raise failure


def _without_seed(claims: Claims, key: Key) -> Claims:
    """Translate Odoo's `keySeed` into the channel key that the browsers will compute.

    They derive it from the key that Odoo knows, the gateway's; an SFU with a key of its own would derive
    another one. channel key = base64(HMAC-SHA256(auth key, seed)) (odoo/odoo#287431).
    """
    if "keySeed" not in claims:
        return claims
    seed: Any = claims["keySeed"]
    try:
        derived = hmac.digest(key.secret, decode_base64(seed), "sha256")
    except (AttributeError, ValueError):
        raise CredentialsInvalid("keySeed is not base64") from None
    others = {name: value for name, value in claims.items() if name != "keySeed"}
    return others | {"key": base64.b64encode(derived).decode()}
