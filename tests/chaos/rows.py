"""The rows of the promise table: how long they run, and what they measured.

Each test records its figure, kept or not. `scripts/chaos` runs the rows in full length and renders the record
into `docs/reliability.md`.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.engines import ServerName, chaos_engine


@dataclass(frozen=True, slots=True)
class Scale:
    """How long rows run: short in the default suite, full in `scripts/chaos`."""

    is_full: bool

    def seconds(self, full: float, short: float) -> float:
        """Return the duration of a phase, in seconds."""
        return full if self.is_full else short

    def count(self, full: int, short: int) -> int:
        """Return how many of something."""
        return full if self.is_full else short


def scale() -> Scale:
    """Return the scale that `SFU_CHAOS` (`full` or `short`) asks for."""
    return Scale(os.environ.get("SFU_CHAOS") == "full")


def engines() -> list[ServerName]:
    """Return the engines that rows with an engine of their own run on: all, or what was asked for."""
    wanted = chaos_engine()
    return [wanted] if wanted else ["redis", "valkey"]


@dataclass(frozen=True, slots=True)
class Row:
    """One promise."""

    number: str
    fault: str
    promise: str
    engine: ServerName = field(default_factory=lambda: chaos_engine() or "redis")
    """What it ran on."""

    def record(self, figure: str, *, kept: bool, required: bool | None = None) -> None:
        """Print what was measured, keep it for the report, and fail when the promise was not kept.

        Where part of a promise needs an idle machine, `required` is the rest: only without that the test fails.
        """
        print(f"{self.number}: {figure}")  # noqa: T201 - the figure is the point of the test
        if path := os.environ.get("SFU_CHAOS_RECORD"):
            line = {
                "engine": self.engine,
                "row": self.number,
                "fault": self.fault,
                "promise": self.promise,
            }
            with Path(path).open("a", encoding="utf-8") as record:
                record.write(json.dumps(line | {"figure": figure, "kept": kept}) + "\n")
        assert kept if required is None else required, f"{self.number} ({self.promise}): {figure}"
