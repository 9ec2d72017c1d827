"""Durations as people write them: `90`, `90s`, `5m`, `1h30m`."""

import re
from typing import Final

import typer

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")


def duration(value: object) -> float:
    """Return seconds. A number without a unit is seconds."""
    text = str(value).strip().lower()
    parts = _PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise typer.BadParameter(
            f"{value!r} is no duration: give seconds, or a unit as in 30s, 5m, 1h30m, 2d"
        )
    return seconds


def pause(value: object) -> float:
    """Return seconds between two looks, which are never shorter than a tenth of one."""
    return max(0.1, duration(value))
