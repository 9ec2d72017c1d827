"""Durations as people write them."""

import pytest
import typer

from app.cli.durations import duration, pause


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90), (90, 90), ("0", 0), ("1.5", 1.5), ("500ms", 0.5), ("30s", 30), ("5m", 300), ("1h30m", 5400),
        ("2D", 172_800),
    ],
)  # fmt: skip
def test_a_duration_is_seconds_or_has_units(text: object, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5x", "m", "-1", "-5m", "nan", "inf", "1h 30", "5mm"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no duration"):
        duration(text)


def test_a_pause_has_a_least_length() -> None:
    assert (pause("0"), pause("2s")) == (0.1, 2)
