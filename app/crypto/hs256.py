"""Compact JSON Web Signatures (RFC 7515) with HMAC-SHA256, and base64 text: the standard library alone.

The agent imports this module too, so it stays free of cryptography libraries: those take a third of the memory
that a sidecar may have.
"""

import base64
import binascii
import hmac
import json
from typing import Any, Final

_TO_BASE64: Final = str.maketrans("-_", "+/")
_FROM_URL_SAFE: Final = bytes.maketrans(b"-_+/=", b"+/***")
"""Characters of the standard alphabet become one of no alphabet."""
_TO_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


def decode_base64(text: str) -> bytes:
    """Decode base64 `text` in the standard or url-safe alphabet, padded or not; white space is ignored anywhere.

    `openssl rand -base64 64` writes a line break into the key, and Odoo and Node.js both read such a key.

    Raises:
        ValueError: a character outside both alphabets, or an impossible length.
    """
    cleaned = "".join(text.split()).rstrip("=").translate(_TO_BASE64)
    try:
        return base64.b64decode(cleaned + "=" * (-len(cleaned) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64") from error


def encode_part(raw: bytes) -> str:
    """Return `raw` in base64url without padding (RFC 7515 section 2)."""
    text = binascii.b2a_base64(raw, newline=False).translate(_TO_URL_SAFE)
    return text.decode("ascii").rstrip("=")


_HEADER: Final = encode_part(b'{"typ":"JWT","alg":"HS256"}')
_PLAIN_HEADERS: Final = frozenset({_HEADER.encode(), encode_part(b'{"alg":"HS256","typ":"JWT"}').encode()})
"""What nearly every sender writes; nothing in it needs to be looked at again."""


def sign(payload: bytes, secret: bytes) -> str:
    """Return a compact JWS over `payload` with the header of a JWT."""
    signed = f"{_HEADER}.{encode_part(payload)}"
    return f"{signed}.{encode_part(hmac.digest(secret, signed.encode(), 'sha256'))}"


def verified_payload(token: str, secret: bytes) -> bytes:
    """Return the payload of a compact JWS that `secret` signed.

    The signature is checked before the header is parsed. A `crit` header is refused, whatever it lists: RFC 7515
    section 4.1.11 obliges a recipient to reject extensions that it does not understand, and an empty list too.

    Raises:
        ValueError: malformed, another key or algorithm, or a `crit` header.
    """
    signed, _, signature = token.encode("ascii").rpartition(b".")
    header, _, payload = signed.partition(b".")
    expected = hmac.digest(secret, signed, "sha256")
    if not hmac.compare_digest(_decode_part(signature), expected):
        raise ValueError("signed with another key")
    if header not in _PLAIN_HEADERS:
        _check_header(_decode_part(header))
    return _decode_part(payload)


def _check_header(raw: bytes) -> None:
    try:
        header: Any = json.loads(raw.decode())
    except RecursionError:
        raise ValueError("the header is no header") from None
    if not isinstance(header, dict) or header.get("alg") != "HS256" or "crit" in header:
        raise ValueError("the header is not that of an HS256 token")


def _decode_part(part: bytes) -> bytes:
    """Decode base64url without padding. Raises `ValueError`: other alphabets have no place in a token."""
    return binascii.a2b_base64(part.translate(_FROM_URL_SAFE) + b"==="[: -len(part) % 4], strict_mode=True)
