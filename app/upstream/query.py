"""The query of a channel request, as it is passed on to an SFU."""

import re
from collections.abc import Set
from typing import Final
from urllib.parse import unquote_plus

_NOT_A_URI_CHARACTER: Final = re.compile(rb'[^!$-;=?-Z\[\]_a-z~|^`{}\\"<>]')
"""Bytes that end the request line or are not ASCII: control characters, blanks, `#` and bytes from 0x7F on."""


def query_without(query: bytes, names: Set[str]) -> str:
    """Return the `query` of a request, byte for byte, without the parameters that are called one of `names`.

    Only bytes that no request line can carry are percent-encoded, which a server reads as the same bytes.
    """
    if not query:
        return ""
    parts = [part for part in query.split(b"&") if _name_of(part) not in names]
    return _NOT_A_URI_CHARACTER.sub(lambda found: b"%%%02X" % found[0][0], b"&".join(parts)).decode("ascii")


def _name_of(part: bytes) -> str:
    return unquote_plus(part.partition(b"=")[0].decode("latin-1"))
