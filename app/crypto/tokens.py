"""JSON Web Tokens (RFC 7519) as Odoo, the gateway and SFUs exchange them: HS256, nothing else.

Keys travel as base64 text in either alphabet, padded or not; they become `Key` once, at the edge.
"""

import base64
import hmac
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from app.crypto.claims import Claims, decode_claims, encode_claims
from app.crypto.hs256 import decode_base64, sign, verified_payload
from app.errors import CredentialsExpired, CredentialsInvalid, CredentialsMissing

MAX_TOKEN_BYTES: Final = 8 * 1024
"""Longer tokens are refused unread: decoding megabytes would hold up every other request."""

RECOMMENDED_KEY_BYTES: Final = 32
"""RFC 7518 section 3.2: an HS256 key has at least the size of the hash."""

MAX_REGISTRATION_LIFE_SECONDS: Final = 300
"""A heartbeat's token is made for the moment; a stolen one is worthless soon."""

CLOCK_TOLERANCE_SECONDS: Final = 30
"""How much further ahead than `MAX_REGISTRATION_LIFE_SECONDS` the `exp` of a heartbeat may be."""

SFU_TOKEN_LIFE_SECONDS: Final = MAX_REGISTRATION_LIFE_SECONDS + CLOCK_TOLERANCE_SECONDS + 60
"""Life of the tokens that SFUs get. Registration accepts an SFU whose clock is ahead by up to
`MAX_REGISTRATION_LIFE_SECONDS` and the tolerance; a token has to be good on that clock, too."""


class Key:
    """An HS256 key. Its text form never shows the secret, so it may end up in a log by accident."""

    __slots__ = ("secret",)

    def __init__(self, secret: bytes) -> None:
        """Raises `ValueError` for an empty `secret`."""
        if not secret:
            raise ValueError("the key is empty")
        self.secret = secret

    @classmethod
    def from_base64(cls, text: str) -> "Key":
        """Read base64 `text` (RFC 4648 section 4 or 5), padding and white space ignored. Raises `ValueError`."""
        return cls(decode_base64(text))

    def to_base64(self) -> str:
        """Return the secret as base64 text, as heartbeats and settings carry it."""
        return base64.b64encode(self.secret).decode()

    @property
    def is_short(self) -> bool:
        """Whether the key has fewer bytes than HS256 should have."""
        return len(self.secret) < RECOMMENDED_KEY_BYTES

    def sign(self, claims: Mapping[str, Any], /) -> str:
        """Return a compact JWT over `claims`, base64url without padding. Raises `ValueError`: not to be written."""
        return sign(encode_claims(dict(claims)), self.secret)

    def claims_of(self, token: str) -> Claims:
        """Return the claims of a `token` of any length signed with this key. Raises `CredentialsInvalid`."""
        try:
            payload = verified_payload(token, self.secret)
        except ValueError:
            raise CredentialsInvalid("the token is malformed or was signed with another key") from None
        return decode_claims(payload)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and hmac.compare_digest(self.secret, other.secret)

    def __hash__(self) -> int:
        return hash(self.secret)

    def __repr__(self) -> str:
        return f"Key(<{len(self.secret)} secret bytes>)"


def bearer_token(authorization: str | None) -> str:
    """Return the token of an `Authorization` header, whatever its scheme word: Odoo's changed over time.

    Raises:
        CredentialsMissing: there is no header, or no token in it.
    """
    words = (authorization or "").split()
    if len(words) != 2:
        raise CredentialsMissing("send Authorization: Bearer <token>")
    return words[1]


def verify(token: str, keys: Iterable[Key], *, now: float, leeway_seconds: float = 0) -> Claims:
    """Return the claims of a `token` signed with any of `keys` and not yet expired at `now`.

    `now` is seconds since the epoch. `exp` is required and must be later than `now` less the leeway; `nbf`,
    where present, must not be later than `now` plus the leeway (RFC 7519 section 4.1).

    Raises:
        CredentialsInvalid: too long, malformed, another algorithm or key, no numeric `exp`, not yet valid.
        CredentialsExpired: genuine, and past its `exp`.
    """
    claims = read_claims(token, keys)[0]
    check_times(claims, now=now, leeway_seconds=leeway_seconds)
    return claims


def check_times(claims: Claims, *, now: float, leeway_seconds: float = 0) -> None:
    """Hold `exp` and `nbf` of genuine `claims` against `now`; raises as `verify` does.

    The refusal says by how much the times differ, and where the token has an `iat`, by how much the clocks do.
    """
    expires = number_claim(claims, "exp")
    if expires is None:
        raise CredentialsInvalid("the token has no expiry (exp)")
    if expires <= now - leeway_seconds:
        difference = clock_difference(claims, now)
        raise CredentialsExpired(
            f"the token expired {now - expires:.0f} s ago{_clocks(difference)}", difference
        )
    if "nbf" in claims:
        not_before = number_claim(claims, "nbf")
        if not_before is None:
            raise CredentialsInvalid("nbf is not a time")
        if not_before > now + leeway_seconds:
            difference = clock_difference(claims, now)
            raise CredentialsInvalid(
                f"the token is not valid for another {not_before - now:.0f} s (nbf){_clocks(difference)}",
                difference,
            )


def clock_difference(claims: Claims, now: float) -> float | None:
    """Return by how many seconds the clock of the token's sender is ahead of `now`; `None` without an `iat`."""
    issued_at = number_claim(claims, "iat")
    return None if issued_at is None else issued_at - now


def _clocks(difference: float | None) -> str:
    if difference is None:
        return ": compare the clocks of its sender and of the gateway"
    direction = "behind" if difference < 0 else "ahead of"
    return f": its sender's clock is {abs(difference):.0f} s {direction} the gateway's"


def read_claims(token: str, keys: Iterable[Key]) -> tuple[Claims, Key]:
    """Return the claims of a `token` signed with any of `keys`, and that key. Looks at no time.

    Raises:
        CredentialsInvalid: too long, malformed, another algorithm or key, claims that cannot be passed on.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise CredentialsInvalid(f"the token is longer than {MAX_TOKEN_BYTES} bytes")
    failure = "no key is configured"
    for key in keys:
        try:
            payload = verified_payload(token, key.secret)
        except ValueError:
            failure = "the token is malformed or was signed with another key"
        else:
            return decode_claims(payload), key
    raise CredentialsInvalid(failure)


def number_claim(claims: Claims, name: str) -> float | None:
    """Return a claim that is a finite number, else `None`."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer beyond all floats
        return None
