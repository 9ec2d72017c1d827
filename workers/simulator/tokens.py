"""How SFUs judge tokens, written apart from `app.crypto.tokens` where they differ from RFC 7519.

Two dialects: "odoo" is odoo/sfu, which decodes either base64 alphabet, padded or not, and needs no `exp`;
"strict" is o-sfu, which takes unpadded base64url only and refuses long tokens.
"""

import hashlib
import hmac
import json
import math
from typing import Any, Final, Literal, TypeAlias

from app.crypto.claims import Claims
from app.crypto.hs256 import decode_base64
from app.crypto.tokens import Key
from app.errors import CredentialsInvalid

Dialect: TypeAlias = Literal["odoo", "strict"]

REFUSED_STATUS: Final[dict[Dialect, int]] = {"odoo": 500, "strict": 401}
"""The status with which `GET /v1/channel` refuses a token that is there but not good."""

STRICT_TOKEN_BYTES: Final = 16 * 1024
FUTURE_ISSUE_SECONDS: Final = 60
"""odoo/sfu refuses a token whose `iat` is further ahead than this."""


class TokenRefused(Exception):
    """The SFU does not believe this token."""


def claims_of(token: str, key: Key, dialect: Dialect, *, now: float) -> Claims:
    """Return the claims of `token` as an SFU with `key` reads it at `now` (seconds since the epoch).

    Raises:
        TokenRefused: malformed, signed with another key, not HS256, expired or not yet valid.
    """
    if dialect == "odoo":
        return _odoo_claims(token, key, math.floor(now))
    return _strict_claims(token, key, now)


def _odoo_claims(token: str, key: Key, now: int) -> Claims:
    header, claims, is_genuine = _odoo_parts(token, key)
    if header.get("alg") != "HS256" or not is_genuine:
        raise TokenRefused("the signature is wrong")
    if _seconds(claims, "exp", default=now) < now:
        raise TokenRefused("the token has expired")
    if _seconds(claims, "nbf", default=now) > now:
        raise TokenRefused("the token is not valid yet")
    if _seconds(claims, "iat", default=now) > now + FUTURE_ISSUE_SECONDS:
        raise TokenRefused("the token was issued in the future")
    return claims


def _odoo_parts(token: str, key: Key) -> tuple[dict[str, Any], Claims, bool]:
    """Return the header, the claims and whether `key` made the signature."""
    try:
        header_text, claims_text, signature_text = token.split(".")
        header, claims = (json.loads(decode_base64(text)) for text in (header_text, claims_text))
        signature = decode_base64(signature_text)
    except ValueError as error:
        raise TokenRefused("the token is malformed") from error
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise TokenRefused("the token is malformed")
    expected = hmac.digest(key.secret, f"{header_text}.{claims_text}".encode(), hashlib.sha256)
    return header, claims, hmac.compare_digest(signature, expected)


def _strict_claims(token: str, key: Key, now: float) -> Claims:
    if len(token) > STRICT_TOKEN_BYTES:
        raise TokenRefused("the token is too long")
    try:
        claims = key.claims_of(token)
    except CredentialsInvalid as error:
        raise TokenRefused(error.detail) from error
    if _seconds(claims, "exp", default=math.inf) <= now:
        raise TokenRefused("the token has expired")
    return claims


def _seconds(claims: Claims, name: str, *, default: float) -> float:
    """Return a time claim; `default` when it is absent, zero or no number, as JavaScript's `&&` has it."""
    value = claims.get(name)
    return value if isinstance(value, int | float) and value else default
