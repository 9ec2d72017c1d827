"""Renders what the rows measured into `docs/reliability.md`: `python -m tests.chaos.report RECORD DOCUMENT`."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def render(rows: Sequence[dict[str, Any]], scale: str) -> str:
    """Return `rows` as Markdown, one table for each engine."""
    measured = (
        f"Measured with {os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
        f"rows in {scale} length, by `scripts/chaos`."
    )
    engines = sorted({str(row["engine"]) for row in rows})
    tables = [_table(engine, [row for row in rows if row["engine"] == engine]) for engine in engines]
    return "\n\n".join([measured, *tables])


def _table(engine: str, rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"### On {engine.capitalize()}",
        "",
        "| row | fault | promise | measured | kept |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['row']} | {row['fault']} | {row['promise']} | {row['figure']} | {'yes' if row['kept'] else 'no'} |"
        for row in sorted(rows, key=_order)
    ]
    return "\n".join(lines)


def _order(row: dict[str, Any]) -> tuple[int, str]:
    number = str(row["row"]).split()[0].removeprefix("R")
    return int(number), str(row["row"])


def main(record: Path, document: Path) -> None:
    """Put the table of `record` (JSON lines) between the marks of `document`."""
    rows = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    text = document.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    table = render(rows, os.environ.get("SFU_CHAOS", "full"))
    document.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
