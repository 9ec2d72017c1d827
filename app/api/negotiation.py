"""What a caller takes: the headers `Accept` and `Accept-Encoding` (RFC 9110, section 12.5)."""

import re
from collections.abc import Sequence
from typing import Final

_NOT_WANTED: Final = re.compile(r";\s*q=0(\.0*)?\s*(;|$)", re.IGNORECASE)


def wanted(lines: Sequence[str]) -> list[str]:
    """Return the names in the `lines` of a header, in their order, without those of weight 0."""
    items = (item for item in ",".join(lines).split(",") if not _NOT_WANTED.search(item))
    return [item.partition(";")[0].strip().lower() for item in items]
