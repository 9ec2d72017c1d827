"""By how much the clock of an SFU differs, as the `Date` of its answers tells."""

import calendar
import time
from typing import Final

SHOWN_FROM_SECONDS: Final = 60
"""A smaller difference is not worth a word: a token lives longer, and an answer may have been on its way."""

_IMF_FIXDATE: Final = "%a, %d %b %Y %H:%M:%S GMT"
"""RFC 9110, section 5.6.7."""


def seconds_of(date: bytes) -> int | None:
    """Return a `Date` in seconds since the epoch; `None` when it is none."""
    try:
        return calendar.timegm(time.strptime(date.decode("ascii"), _IMF_FIXDATE))
    except (ValueError, OverflowError):
        return None


def clock_ahead_s(date: bytes, now: float) -> int:
    """Return by how many seconds the sender of `date` is ahead of `now`; 0 for little, or without a date."""
    said = seconds_of(date)
    ahead = 0 if said is None else round(said - now)
    return ahead if abs(ahead) >= SHOWN_FROM_SECONDS else 0


def clock_words(ahead_s: int) -> str:
    """Return a difference in words that go on after a cause; empty for none."""
    if not ahead_s:
        return ""
    return f"; its clock is {abs(ahead_s)} s {'ahead of' if ahead_s > 0 else 'behind'} the gateway's"
