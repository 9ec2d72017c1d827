"""JSON Web Tokens (RFC 7519) as Odoo, the gateway and SFUs exchange them: HS256, nothing else.

Keys travel as base64 text in either alphabet, padded or not; they become `Key` once, at the edge.
"""

import base64
import binascii
import json
import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from joserfc import jws, jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import OctKey

from app.errors import CredentialsExpired, CredentialsInvalid, CredentialsMissing

MAX_TOKEN_BYTES: Final = 8 * 1024
"""Longer tokens are refused unread: decoding megabytes would hold up every other request."""

RECOMMENDED_KEY_BYTES: Final = 32
"""RFC 7518 section 3.2: an HS256 key has at least the size of the hash."""

_HEADER: Final = {"typ": "JWT", "alg": "HS256"}
_TO_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_OURS: Final = jws.JWSRegistry(algorithms=["HS256"], strict_check_header=False)  # of a header that is ours
_THEIRS: Final = jws.JWSRegistry(algorithms=["HS256"])

Claims: TypeAlias = dict[str, Any]


class Key:
    """An HS256 key. Its text form never shows the secret, so it may end up in a log by accident."""

    __slots__ = ("_imported", "secret")

    def __init__(self, secret: bytes) -> None:
        """Take the raw `secret`; an empty one raises `ValueError`."""
        if not secret:
            raise ValueError("the key is empty")
        self.secret = secret
        self._imported: OctKey | None = None

    @classmethod
    def from_base64(cls, text: str) -> "Key":
        """Read base64 `text` (RFC 4648 section 4 or 5, padding optional). Raises `ValueError`."""
        return cls(decode_base64(text))

    @property
    def is_short(self) -> bool:
        """Whether the key has fewer bytes than HS256 should have."""
        return len(self.secret) < RECOMMENDED_KEY_BYTES

    @property
    def _jwk(self) -> OctKey:
        """The library's form, made when it is first needed: keys that only register never sign."""
        if self._imported is None:
            with warnings.catch_warnings():
                # Odoo lets people choose short keys; the settings warn about them once, by name.
                warnings.simplefilter("ignore", SecurityWarning)
                self._imported = OctKey.import_key(self.secret)
        return self._imported

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return a compact JWT over `claims`, base64url without padding."""
        payload = _TO_JSON.encode(dict(claims))
        return jws.serialize_compact(_HEADER, payload, self._jwk, registry=_OURS)

    def claims_of(self, token: str) -> Claims:
        """Return the claims of a `token` signed with this key. Raises `CredentialsInvalid`."""
        try:
            decoded = jwt.decode(token, self._jwk, registry=_THEIRS)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise CredentialsInvalid("the token is malformed or was signed with another key") from error
        if "crit" in decoded.header:  # also an empty list, which RFC 7515 section 4.1.11 forbids
            raise CredentialsInvalid("the token asks for extensions (crit)")
        claims = decoded.claims
        if not isinstance(claims, dict):
            raise CredentialsInvalid("the token carries no claims")
        return claims

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.secret == other.secret

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


def decode_base64(text: str) -> bytes:
    """Decode base64 `text` in the standard or url-safe alphabet, padded or not.

    Raises:
        ValueError: a character outside both alphabets, or an impossible length.
    """
    cleaned = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(cleaned + "=" * (-len(cleaned) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64") from error


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
    """Hold `exp` and `nbf` of genuine `claims` against `now`; raises as `verify` does."""
    expires = _number(claims, "exp")
    if expires is None:
        raise CredentialsInvalid("the token has no expiry (exp)")
    if expires <= now - leeway_seconds:
        raise CredentialsExpired("the token has expired")
    if "nbf" in claims:
        not_before = _number(claims, "nbf")
        if not_before is None or not_before > now + leeway_seconds:
            raise CredentialsInvalid("the token is not valid yet (nbf)")


def read_claims(token: str, keys: Iterable[Key]) -> tuple[Claims, Key]:
    """Return the claims of a `token` signed with any of `keys`, and that key. Looks at no time.

    Raises:
        CredentialsInvalid: too long, malformed, another algorithm or key.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise CredentialsInvalid(f"the token is longer than {MAX_TOKEN_BYTES} bytes")
    failure = CredentialsInvalid("no key is configured")
    for key in keys:
        try:
            return key.claims_of(token), key
        except CredentialsInvalid as error:
            failure = error
    raise failure


def _number(claims: Claims, name: str) -> float | None:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer beyond all floats
        return None
