"""The runbooks, for operators whose page offers no way to the internet: `docs/runbooks.md`, one section at a time."""

import functools
import re
from importlib.resources import files
from pathlib import Path
from typing import Final

_HEADING: Final = re.compile(r"^## (.+)$", re.MULTILINE)


def section(name: str) -> str:
    """Return the section with this heading, as Markdown; all sections where none has it."""
    text = _text()
    starts = [*_HEADING.finditer(text)]
    for start, end in zip(starts, [*(match.start() for match in starts[1:]), len(text)], strict=True):
        if name.lower() in start[1].lower().replace("`", "").split():
            return text[start.start() : end]
    return text


@functools.cache
def _text() -> str:
    """A wheel has the page beside this file, a checkout among the docs."""
    installed = files("app.dashboard") / "runbooks.md"
    if installed.is_file():
        return installed.read_text("utf-8")
    return (Path(__file__).parents[2] / "docs" / "runbooks.md").read_text("utf-8")
