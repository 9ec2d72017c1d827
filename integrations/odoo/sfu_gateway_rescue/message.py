"""The gateway's message: a JSON Web Token (HS256) that names the calls whose SFU is gone or drains."""

import base64
import hashlib
import hmac
import json
from typing import NamedTuple

AUDIENCE = "sfu-gateway-rescue"
ISSUER = "sfu-gateway"
REASONS = ("down", "unreachable", "restarted", "drain")
MAX_BYTES = 8 * 1024
MAX_CALLS = 50
MAX_UUID_CHARACTERS = 64
CLOCK_TOLERANCE_S = 30
MAX_LIFETIME_S = 300


class Message(NamedTuple):
    """`available` says whether another SFU can take calls at the moment."""

    reason: str
    uuids: list
    available: bool


class Refused(Exception):
    """Its arguments: the HTTP status, and what the sender is told."""


def read_message(token, key, now):
    """Return the Message of `token` (bytes), signed with Odoo's SFU `key` (base64). Raises Refused."""
    if len(token) > MAX_BYTES:
        raise Refused(413, f"the message is longer than {MAX_BYTES} bytes")
    claims = _verified_claims(token, key)
    if claims.get("aud") != AUDIENCE or claims.get("iss") != ISSUER:
        raise Refused(401, "the token is not for this route")
    expires = claims.get("exp")
    if type(expires) not in (int, float) or not now - CLOCK_TOLERANCE_S < expires <= now + MAX_LIFETIME_S:
        raise Refused(401, "the token has expired, or expires too far ahead: compare the clocks")
    return _message(claims)


def _verified_claims(token, key):
    """Nothing of the token is parsed before its signature has been verified."""
    secret = _decoded((key or "").encode())
    signed, _, signature = token.rpartition(b".")
    expected = hmac.new(secret, signed, hashlib.sha256).digest()
    # Without a key in Odoo's settings, an empty one would verify.
    if not secret or not hmac.compare_digest(expected, _decoded(signature)):
        raise Refused(401, "the signature is not by this database's SFU key")
    try:
        header, claims = (json.loads(_decoded(part)) for part in signed.split(b"."))
    except (ValueError, RecursionError) as error:
        raise Refused(401, "the token is malformed") from error
    if not isinstance(claims, dict) or not isinstance(header, dict) or header.get("alg") != "HS256":
        raise Refused(401, "the token is malformed, or not HS256")
    return claims


def _decoded(text):
    """Decode base64 of either alphabet as Odoo decodes its key; what is no base64 becomes empty."""
    try:
        return base64.urlsafe_b64decode(text.strip().rstrip(b"=") + b"==")
    except ValueError:
        return b""


def _message(claims):
    reason, uuids, available = claims.get("reason"), claims.get("uuids"), claims.get("available")
    if reason not in REASONS:
        raise Refused(422, f"reason: one of {', '.join(REASONS)}")
    if not isinstance(uuids, list) or not 1 <= len(uuids) <= MAX_CALLS:
        raise Refused(422, f"uuids: a list of 1 to {MAX_CALLS}")
    if not all(isinstance(uuid, str) and 1 <= len(uuid) <= MAX_UUID_CHARACTERS for uuid in uuids):
        raise Refused(422, f"uuids: texts of 1 to {MAX_UUID_CHARACTERS} characters")
    if not isinstance(available, bool):
        raise Refused(422, "available: true or false")
    return Message(reason, list(dict.fromkeys(uuids)), available)
