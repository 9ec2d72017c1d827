"""The rows of the promise table: how long they run, on what, and what they measured.

Each test records its figure, kept or not. `scripts/chaos` runs the rows and renders the record into
`docs/reliability.md`.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.engines import ChaosEngine, any_binary, chaos_engine


@dataclass(frozen=True, slots=True)
class Scale:
    """How long rows run: short in the default suite, full where `SFU_CHAOS` asks for it."""

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


def this_engine() -> ChaosEngine:
    """Return the engine that rows run on: `SFU_CHAOS_ENGINE`, by default one server of whatever is there."""
    return chaos_engine() or ("valkey" if any_binary().name == "valkey-server" else "redis")


def engines(*default: ChaosEngine) -> list[ChaosEngine]:
    """Return the engines for rows that need a certain topology: what was asked for, or the `default`."""
    wanted = chaos_engine()
    return [wanted] if wanted else list(default)


@dataclass(frozen=True, slots=True)
class Row:
    """One promise."""

    number: str
    fault: str
    promise: str
    engine: ChaosEngine = field(default_factory=this_engine)
    """What it ran on."""

    def record(self, figure: str, *, kept: bool, required: bool | None = None) -> None:
        """Print what was measured, keep it for the report, and fail when the promise was not kept.

        Where part of a promise needs an idle machine, `required` is the rest: only without that the test fails.
        """
        self._write(figure, kept=kept)
        assert kept if required is None else required, f"{self.number} ({self.promise}): {figure}"

    def skip(self, reason: str) -> NoReturn:
        """Say in the report why this row means nothing on this engine, and skip the test."""
        self._write(f"n/a: {reason}", kept=None)
        pytest.skip(reason)

    def _write(self, figure: str, *, kept: bool | None) -> None:
        print(f"{self.number} on {self.engine}: {figure}")  # noqa: T201 - the figure is the point of the test
        if path := os.environ.get("SFU_CHAOS_RECORD"):
            line = {
                "row": self.number,
                "engine": self.engine,
                "length": "full" if scale().is_full else "short",
                "fault": self.fault,
                "promise": self.promise,
                "figure": figure,
                "kept": kept,
            }
            with Path(path).open("a", encoding="utf-8") as record:
                record.write(json.dumps(line) + "\n")
