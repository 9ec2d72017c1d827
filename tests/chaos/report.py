"""Renders what the rows measured into `docs/reliability.md`: `python -m tests.chaos.report RECORD DOCUMENT`.

First which promise was kept on which engine, then for each engine the figures.
"""

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias, get_args

from tests.support.engines import ChaosEngine

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

Record: TypeAlias = Mapping[str, Any]

_SHORTENED: Final = "shortened rows"
_VERDICTS: Final = {True: "kept", False: "**not kept**", None: "n/a"}


def render(records: Sequence[Record]) -> str:
    """Return `records` as Markdown. Of a row that ran twice on an engine, the later one counts."""
    latest = {(record["engine"], record["row"]): record for record in records}
    rows = sorted(latest.values(), key=lambda record: _order(record["row"]))
    engines = [engine for engine in get_args(ChaosEngine) if any(row["engine"] == engine for row in rows)]
    of = {engine: [row for row in rows if row["engine"] == engine] for engine in engines}
    measured = (
        f"Measured with {os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
        f"by `scripts/chaos`. {_what_ran(of)}"
    )
    tables = [_figures(engine, of[engine]) for engine in engines]
    return "\n\n".join([measured, _matrix(rows, of), *tables])


def _what_ran(of: Mapping[str, Sequence[Record]]) -> str:
    """Say how long the rows of each engine ran, and what that means."""
    ran = "; ".join(f"{engine.capitalize()}: {_length(rows)}" for engine, rows in of.items())
    if not any(_short(rows) for rows in of.values()):
        return f"{ran}."
    return (
        f"{ran}. A shortened row has the same fault and the same limits, for seconds instead of minutes, with fewer "
        "SFUs and requests."
    )


def _matrix(rows: Sequence[Record], of: Mapping[str, Sequence[Record]]) -> str:
    """Rows by engines: what was kept."""
    engines = list(of)
    titles = [
        f"{name.capitalize()}{' (short)' if _length(of[name]) == _SHORTENED else ''}" for name in engines
    ]
    lines = [_line("row", "promise", *titles), _line(*["---"] * (2 + len(engines)))]
    verdicts = {(row["row"], row["engine"]): _VERDICTS[row["kept"]] for row in rows}
    promises = {row["row"]: row["promise"] for row in rows}
    lines += [
        _line(name, promise, *(verdicts.get((name, engine), "not run") for engine in engines))
        for name, promise in promises.items()
    ]
    return "\n".join(lines)


def _figures(engine: str, rows: Sequence[Record]) -> str:
    """What was measured on one engine."""
    lines = [f"### On {engine.capitalize()}, {_length(rows)}", ""]
    lines += [_line("row", "fault", "measured", "kept"), _line(*["---"] * 4)]
    lines += [_line(row["row"], row["fault"], row["figure"], _VERDICTS[row["kept"]]) for row in rows]
    return "\n".join(lines)


def _length(rows: Sequence[Record]) -> str:
    """Say how long the rows ran."""
    short, full = _short(rows), [str(row["row"]) for row in _ran(rows) if row["length"] != "short"]
    if not short:
        return "rows in full length"
    if not full:
        return _SHORTENED
    if len(short) > len(full):
        return f"{_SHORTENED}, but for {', '.join(full)} in full length"
    return f"rows in full length, but for {', '.join(short)}"


def _short(rows: Sequence[Record]) -> list[str]:
    return [str(row["row"]) for row in _ran(rows) if row["length"] == "short"]


def _ran(rows: Sequence[Record]) -> list[Record]:
    return [row for row in rows if row["kept"] is not None]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _order(row: str) -> tuple[int, str]:
    return int(row.split()[0].removeprefix("R")), row


def main(record: Path, document: Path) -> None:
    """Put the tables of `record` (JSON lines) between the marks of `document`."""
    records = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    text = document.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    document.write_text(f"{before}{BEGIN}\n{render(records)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
