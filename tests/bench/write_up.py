"""Tables and plots of the benchmarks: on the terminal, in `docs/placement.md` and below `docs/img/`."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = _ROOT / "docs" / "placement.md"
IMAGES: Final = _ROOT / "docs" / "img"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table that is also aligned as plain text: the first column left, the others right."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(_line(line, widths) for line in [lines[0], rule, *lines[1:]])


def say(text: str) -> None:
    """Print one paragraph."""
    sys.stdout.write(text + "\n\n")
    sys.stdout.flush()


def publish(name: str, text: str, page: Path = PAGE) -> None:
    """Put `text` between the markers `<!-- bench: name -->` and `<!-- end -->` of the page.

    Raises:
        ValueError: the page has no such markers.
    """
    start, end = f"<!-- bench: {name} -->", "<!-- end -->"
    pattern = re.compile(f"({re.escape(start)}\n).*?({end})", re.DOTALL)
    before = page.read_text(encoding="utf-8")
    after, count = pattern.subn(lambda match: f"{match[1]}\n{text}\n\n{match[2]}", before)
    if count != 1:
        raise ValueError(f"{page.name} has {count} places for {name}")
    page.write_text(after, encoding="utf-8")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return (
        "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]) + " |"
    )
