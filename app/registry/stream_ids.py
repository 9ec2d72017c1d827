"""Ids of stream entries: `<ms of Redis' clock>-<sequence>`."""

import re
from typing import Final

BEFORE_ALL: Final = "0-0"
"""The id before the first entry of every stream."""

STREAM_ID: Final = re.compile(r"\d{1,20}(-\d{1,20})?")


def parse_stream_id(stream_id: str) -> tuple[int, int]:
    """Return the time in ms and the sequence, which may be missing. Tuples compare as the stream is ordered."""
    milliseconds, _, sequence = stream_id.partition("-")
    return int(milliseconds), int(sequence or 0)
