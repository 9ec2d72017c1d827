"""SFU keys at rest: sealed with AES-GCM (NIST SP 800-38D), bound to the SFU's address.

Redis, its backups, `MONITOR` and `redis-cli` see ciphertext only. The id of the sealing key stands in front,
so keys can be rotated: the first seals, all of them open.
"""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.crypto.tokens import Key

_NONCE_BYTES: Final = 12
_MOST_KEPT: Final = 20_000


class UnsealError(Exception):
    """None of the sealing keys opens a sealed key."""


@dataclass(slots=True)
class _Kept:
    """A key, sealed and open, of one address."""

    sealed: str
    key: Key
    fingerprint: str = ""


class Sealer:
    """Seals and opens SFU keys."""

    def __init__(self, secrets: Sequence[bytes], random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        """`secrets` are AES keys of 16, 24 or 32 bytes; the first one seals."""
        self._ring = {_key_id(secret): AESGCM(secret) for secret in secrets}
        self._sealing_id = _key_id(secrets[0])
        self._fingerprint_key = hashlib.sha256(b"fingerprint" + secrets[0]).digest()
        self._random_bytes = random_bytes
        self._kept: dict[str, _Kept] = {}
        """By address, the last one: every heartbeat brings the key of its SFU, every placement wants it."""

    @classmethod
    def from_keys(cls, sealing_keys: Sequence[Key], gateway_keys: Sequence[Key]) -> Self:
        """Use `sealing_keys`, else a key derived from each of `gateway_keys` (HKDF, RFC 5869).

        Without either, the key is random and lives as long as the process.
        """
        secrets = [key.secret for key in sealing_keys]
        return cls(secrets or [_derive(key.secret) for key in gateway_keys] or [os.urandom(32)])

    def seal(self, address: str, key: Key) -> str:
        """Return printable ciphertext that only `open` with the same address turns back into `key`.

        That of the last key of an address is kept.
        """
        kept = self._kept.get(address)
        if kept is not None and kept.key == key and kept.sealed.startswith(f"{self._sealing_id}."):
            return kept.sealed
        nonce = self._random_bytes(_NONCE_BYTES)
        ciphertext = self._ring[self._sealing_id].encrypt(nonce, key.secret, address.encode())
        sealed = f"{self._sealing_id}.{base64.urlsafe_b64encode(nonce + ciphertext).decode()}"
        return self._keep(address, sealed, key).sealed

    def open(self, address: str, sealed: str) -> Key:
        """Return the key in `sealed`. Raises `UnsealError`."""
        kept = self._kept.get(address)
        if kept is None or kept.sealed != sealed:
            kept = self._keep(address, sealed, self._decrypt(address, sealed))
        return kept.key

    def _keep(self, address: str, sealed: str, key: Key) -> _Kept:
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        kept = self._kept[address] = _Kept(sealed, key)
        return kept

    def _decrypt(self, address: str, sealed: str) -> Key:
        key_id, _, text = sealed.partition(".")
        cipher = self._ring.get(key_id)
        if cipher is None:
            raise UnsealError("sealed with a key that is not configured here")
        try:
            raw = base64.urlsafe_b64decode(text)
            return Key(cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], address.encode()))
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise UnsealError("altered, or sealed for another address") from error

    def fingerprint(self, address: str, key: Key) -> str:
        """Return a keyed hash by which replicas compare SFU keys without seeing them."""
        kept = self._kept.get(address)
        if kept is None or kept.key != key:
            return self._fingerprint(address, key)
        kept.fingerprint = kept.fingerprint or self._fingerprint(address, key)
        return kept.fingerprint

    def _fingerprint(self, address: str, key: Key) -> str:
        return hmac.digest(self._fingerprint_key, address.encode() + b"\0" + key.secret, "sha256").hex()[:24]


def _key_id(secret: bytes) -> str:
    return hashlib.sha256(b"sealing key id" + secret).hexdigest()[:8]


def _derive(secret: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"sfu-gateway sealing").derive(secret)
