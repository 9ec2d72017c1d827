"""The agent's half of `app.crypto.tokens`: it signs and verifies nothing.

`app.crypto.tokens` would bring a cryptography library along, a third of the memory that a sidecar may have.
"""

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from typing import Any


class SigningKey:
    """An HS256 key (RFC 7518 section 3.2). Its text form never shows the secret."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        """Take the raw `secret`; an empty one raises `ValueError`."""
        if not secret:
            raise ValueError("the key is empty")
        self._secret = secret

    @classmethod
    def from_base64(cls, text: str) -> "SigningKey":
        """Read base64 `text` (RFC 4648 section 4 or 5, padding optional). Raises `ValueError`."""
        cleaned = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
        try:
            return cls(base64.b64decode(cleaned + "=" * (-len(cleaned) % 4), validate=True))
        except binascii.Error:
            raise ValueError("not base64") from None

    def sign(self, claims: Mapping[str, Any], /) -> str:
        """Return a compact JWT over `claims`, base64url without padding (RFC 7515 section 7.1)."""
        signed = ".".join(_encoded(part) for part in ({"typ": "JWT", "alg": "HS256"}, dict(claims)))
        return f"{signed}.{_base64url(hmac.digest(self._secret, signed.encode(), 'sha256'))}"

    def __repr__(self) -> str:
        return f"SigningKey(<{len(self._secret)} secret bytes>)"


def _encoded(part: dict[str, Any]) -> str:
    return _base64url(json.dumps(part, separators=(",", ":")).encode())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
