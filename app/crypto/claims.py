"""The limits of the claims of a token: the one validator for everything that arrives in a token.

Claims are signed again for the SFU and written to Redis, so each of them must be text that UTF-8 can express, a
finite number, or a collection of those, nested to a depth that every JSON library reads.
"""

import json
import math
import re
from typing import Any, Final, TypeAlias

from app.errors import CredentialsInvalid, IssuerMissing
from app.json_text import decoder, encoder

Claims: TypeAlias = dict[str, Any]

MAX_DEPTH: Final = 32
MAX_ISSUER_CHARACTERS: Final = 1024
MAX_ID_CHARACTERS: Final = 200
"""Maximum length of a channel's uuid and of a session's id."""

MAX_DISCONNECT_CHANNELS: Final = 1_000
MAX_SAFE_INTEGER: Final = 2**53 - 1
"""The largest number that JavaScript, and so the SFU, reads exactly."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _refuse_constant(name: str) -> float:
    raise CredentialsInvalid(f"the token's claims contain {name}, which JSON does not know")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise CredentialsInvalid("the token's claims contain a number that is too large")
    return value


_decode: Final = decoder(json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite))
_encode: Final = encoder(ensure_ascii=False, allow_nan=False)


def decode_claims(payload: bytes) -> Claims:
    """Return the claims in the `payload` of a genuine token.

    Raises:
        CredentialsInvalid: not a JSON object in UTF-8, or one with a value that cannot be passed on.
    """
    try:
        claims = _decode(payload.decode())
        # Only an escape can produce half a surrogate pair. `in` would make and drop a `TypeError` first.
        if payload.find(b"\\u") >= 0:
            _encode(claims).encode()
    except UnicodeEncodeError:
        raise CredentialsInvalid("the token's claims contain text that UTF-8 cannot express") from None
    except (ValueError, RecursionError):
        raise CredentialsInvalid("the token's claims are not JSON in UTF-8") from None
    if not isinstance(claims, dict):
        raise CredentialsInvalid("the token carries no claims")
    if payload.count(b"[") + payload.count(b"{") > MAX_DEPTH and _depth(claims) > MAX_DEPTH:
        raise CredentialsInvalid(f"the token's claims are nested deeper than {MAX_DEPTH} levels")
    return claims


def encode_claims(claims: Claims) -> bytes:
    """Return `claims` as the payload of a token. Raises `ValueError` for what `decode_claims` would refuse."""
    return _encode(claims).encode()


def issuer_of(claims: Claims) -> str:
    """Return `iss`. Raises `IssuerMissing` when there is none that can identify a channel."""
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or not 0 < len(issuer) <= MAX_ISSUER_CHARACTERS:
        raise IssuerMissing(f"iss must be a text of 1 to {MAX_ISSUER_CHARACTERS} characters")
    if _CONTROL.search(issuer):
        raise IssuerMissing("iss must not contain control characters")
    return issuer


def sessions_of(claims: Claims) -> dict[str, list[Any]]:
    """Return `sessionIdsByChannel`: lists of session ids by channel uuid. Raises `CredentialsInvalid`."""
    sessions = claims.get("sessionIdsByChannel")
    if not isinstance(sessions, dict) or len(sessions) > MAX_DISCONNECT_CHANNELS:
        raise CredentialsInvalid(
            f"sessionIdsByChannel must be an object of at most {MAX_DISCONNECT_CHANNELS} channels"
        )
    for uuid, ids in sessions.items():
        if not _is_id(uuid):
            raise CredentialsInvalid("sessionIdsByChannel: a name is not the uuid of a channel")
        if not isinstance(ids, list) or not all(map(_is_id, ids)):
            raise CredentialsInvalid("sessionIdsByChannel: a value is not a list of session ids")
    return sessions


def _is_id(value: object) -> bool:
    if isinstance(value, str):
        return 0 < len(value) <= MAX_ID_CHARACTERS and not _CONTROL.search(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_SAFE_INTEGER


def _depth(value: object) -> int:
    """Return how many levels of objects and lists `value` has; without recursion, for it may be deep."""
    level, depth = [value], 0
    while True:
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        if not any(isinstance(item, dict | list) for item in level):
            return depth
        level, depth = inner, depth + 1
