"""The tenants that may ask for channels: one Odoo, or several, each with its keys, its region and its limits."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

from app.crypto.claims import Claims, issuer_of
from app.crypto.hs256 import decode_base64
from app.crypto.tokens import Key, check_times, read_claims
from app.errors import CredentialsInvalid, InvalidField
from app.settings.model import DEFAULT_TENANT, Settings

_NAMESPACE: Final = "tenant/"


@dataclass(frozen=True, slots=True)
class Tenant:
    """One caller of channels."""

    name: str
    keys: tuple[Key, ...]
    region: str | None = None
    """The region its channels prefer when the request says none."""
    region_allow: tuple[str, ...] | None = None
    """Regions in which its channels may be placed; `None`: all."""
    max_placements: int | None = None


@dataclass(slots=True)
class Caller:
    """A verified channel request: its tenant, issuer and claims."""

    tenant: Tenant
    issuer: str
    """`iss` as the caller wrote it."""
    claims: Claims
    """The claims for the SFU: `iss` carries the tenant (`issuer_at_sfu`)."""
    channel_key_fingerprint: str = ""
    """Distinguishes databases that share an issuer, by their channel keys; empty without a channel key."""


class Tenants:
    """All tenants, found by the key that signed a token."""

    def __init__(self, tenants: tuple[Tenant, ...], clock: Callable[[], float]) -> None:
        """`clock` is in seconds since the epoch."""
        self._tenants = tenants
        self._by_key = {key: tenant for tenant in reversed(tenants) for key in tenant.keys}
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
                Tenant(
                    entry.name, entry.key, entry.region, allowed if limited else None, entry.max_placements
                )
            )
        return cls(tuple(tenants), clock)

    def verify(self, token: str) -> Caller:
        """Return the caller that signed `token`.

        Raises:
            CredentialsInvalid, CredentialsExpired: an unknown key, malformed, or too late.
            IssuerMissing: genuine, without an `iss` that can name a channel.
        """
        claims, key = read_claims(token, self._by_key)
        check_times(claims, now=self._clock())
        tenant, issuer = self._by_key[key], issuer_of(claims)
        shown = _without_seed(claims | {"iss": issuer_at_sfu(tenant.name, issuer)}, key)
        return Caller(tenant, issuer, shown, _fingerprint(claims.get("key")))

    def claims_of(self, token: str) -> tuple[Tenant, Claims]:
        """Return the claims of a token that has not expired, and its tenant. Raises as `verify`."""
        claims, key = read_claims(token, self._by_key)
        check_times(claims, now=self._clock())
        return self._by_key[key], claims

    @property
    def regions(self) -> frozenset[str] | None:
        """The regions that any tenant's channels may be placed in; `None` is all."""
        allowed = [tenant.region_allow for tenant in self._tenants]
        if None in allowed:
            return None
        return frozenset(region for regions in allowed for region in regions or ())

    def named(self, name: str | None) -> Tenant:
        """Return the tenant called `name`, or for `None` the default one. Raises `InvalidField`."""
        for tenant in self._tenants:
            if tenant.name == (name or DEFAULT_TENANT):
                return tenant
        raise InvalidField("tenant", "there is no tenant of this name")


def issuer_at_sfu(tenant: str, issuer: str) -> str:
    """Return the issuer under which an SFU knows a tenant's channel.

    An SFU identifies a channel by the caller's address and the issuer. Two tenants may have the same address (one
    proxy, one host) and the same issuer (a copy of a database), and would share a call. So every tenant but the
    default one gets a namespace. An issuer of the default tenant that begins like a namespace gets one too, so that
    no tenant can name another's channel.
    """
    if tenant == DEFAULT_TENANT and not issuer.startswith(_NAMESPACE):
        return issuer
    return f"{_NAMESPACE}{tenant}/{issuer}"


def _fingerprint(channel_key: object) -> str:
    """Return the fingerprint. A channel key from a `keySeed` has none, because it changes with the gateway's key."""
    if not isinstance(channel_key, str) or not channel_key:
        return ""
    return hashlib.blake2b(channel_key.encode(), digest_size=8).hexdigest()


def _without_seed(claims: Claims, key: Key) -> Claims:
    """Translate Odoo's `keySeed` into the channel key that the browsers will compute.

    Browsers derive it from the key that Odoo knows, the gateway's. An SFU would derive another one from its own
    key. channel key = base64(HMAC-SHA256(auth key, seed)) (odoo/odoo#287431).
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
