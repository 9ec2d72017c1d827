"""A text that all viewers share, followed by one that each viewer has alone. The shared one is packed once."""

import zlib
from typing import Final

_FASTEST: Final = 1
_GZIP: Final = 31
"""The `wbits` of zlib for RFC 1952 with the largest window."""


class PackedBeginning:
    """The beginning of many documents, as it is and packed by gzip."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._packer = zlib.compressobj(_FASTEST, wbits=_GZIP)
        self._packed = self._packer.compress(text) + self._packer.flush(zlib.Z_SYNC_FLUSH)

    def followed_by(self, rest: bytes) -> bytes:
        """Return the document that ends with `rest`."""
        return self._text + rest

    def packed_with(self, rest: bytes) -> bytes:
        """Return the same, packed by gzip: one stream, since some readers stop after the first."""
        packer = self._packer.copy()
        return self._packed + packer.compress(rest) + packer.flush()
