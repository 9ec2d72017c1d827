"""What people read at a terminal: tables without lines, one row per thing.

A terminal gets lines that fit it: the least important columns are left out, then long texts are cut. Elsewhere
nothing is cut, so that `grep` finds it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from app.states import is_gone

if TYPE_CHECKING:
    from app.api.schemas import ExplainedSfu, Sfu
    from app.events.event import Event

_GAP: Final = "  "
_COLOURS: Final = {"green": 32, "yellow": 33, "red": 31}
_STATUS_COLOURS: Final = {"up": "green", "draining": "yellow", "down": "red", "misconfigured": "red"}
_ELLIPSIS: Final = "…"


@dataclass(frozen=True, slots=True)
class Column:
    """One column. Where there is no room, the one of the highest `rank` above 0 is left out first."""

    name: str
    rank: int = 0
    is_number: bool = False
    fit: Literal["whole", "middle", "end", "wrap"] = "whole"
    """How a text that is too long is shown: whole, without its middle or its end, or on several lines."""


SFU_COLUMNS: Final = (
    Column("STATE"),
    Column("LOAD", is_number=True),
    Column("SESSIONS", is_number=True),
    Column("CPU", 2, is_number=True),
    Column("MEMORY", 6, is_number=True),
    Column("CHANNELS", 4, is_number=True),
    Column("RESERVED", 7, is_number=True),
    Column("HEARTBEAT", 5, is_number=True),
    Column("REGION", 1),
    Column("ADDRESS", fit="middle"),
    Column("LAST ERROR", 3, fit="end"),
)
_CANDIDATE_COLUMNS: Final = (
    Column("VERDICT"),
    Column("SCORE", is_number=True),
    Column("ADDRESS", fit="middle"),
    Column("REGION"),
    Column("SESSIONS", 2, is_number=True),
    Column("CPU", 3, is_number=True),
    Column("MEMORY", 4, is_number=True),
    Column("PROMISED", 5, is_number=True),
    Column("GROUP", 1, is_number=True),
    Column("LAST ERROR", 6, fit="end"),
)


def terminal_width() -> int | None:
    """Return the columns of the terminal on standard output, `None` where there is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    width: int | None = None,
    colours: Sequence[str] = (),
) -> list[str]:
    """Return the lines of a table that is at most `width` wide; `None` cuts nothing. `colours` are those of rows."""
    cells = [[_printable(cell) for cell in row] for row in rows]
    natural = [max(len(column.name), *(len(row[i]) for row in cells), 0) for i, column in enumerate(columns)]
    shown = list(range(len(columns))) if width is None else _shown(columns, cells, natural, width)
    widths = {i: natural[i] for i in shown} if width is None else _widths(columns, natural, shown, width)
    lines = [_line([columns[i].name for i in shown], columns, shown, widths)]
    for row, colour in zip(cells, colours or [""] * len(cells), strict=True):
        texts = [_fitted(row[i], columns[i], widths[i]) for i in shown]
        for number in range(max(map(len, texts), default=1)):
            line = _line(
                [text[number] if number < len(text) else "" for text in texts], columns, shown, widths
            )
            lines.append(_coloured(line, colour))
    return lines


def _shown(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], natural: Sequence[int], width: int
) -> list[int]:
    """The columns that there is room for; one that is empty takes none."""
    shown = [i for i, column in enumerate(columns) if not column.rank or any(row[i] for row in cells)]

    def needed() -> int:
        least = (
            min(natural[i], max(24, width // 3)) if columns[i].fit != "whole" else natural[i] for i in shown
        )
        return sum(least) + len(_GAP) * (len(shown) - 1)

    while needed() > width and (rank := max(columns[i].rank for i in shown)) > 0:
        shown = [i for i in shown if columns[i].rank != rank]
    return shown


def _widths(
    columns: Sequence[Column], natural: Sequence[int], shown: Sequence[int], width: int
) -> dict[int, int]:
    """The width of each column: those that may be cut share what the others leave."""
    widths = {i: natural[i] for i in shown}
    room = width - len(_GAP) * (len(shown) - 1) - sum(natural[i] for i in shown if columns[i].fit == "whole")
    elastic = sorted((i for i in shown if columns[i].fit != "whole"), key=lambda i: natural[i])
    for number, i in enumerate(elastic):
        widths[i] = min(natural[i], max(8, room // (len(elastic) - number)))
        room -= widths[i]
    return widths


def _fitted(text: str, column: Column, width: int) -> list[str]:
    if len(text) <= width:
        return [text]
    if column.fit == "wrap":
        return textwrap.wrap(text, width)
    return [shortened(text, width) if column.fit == "middle" else text[: width - 1] + _ELLIPSIS]


def shortened(text: str, width: int) -> str:
    """Return an address that fits: without its scheme, then without its middle. Hosts differ at the beginning."""
    if len(text) <= width:
        return text
    place = text.rpartition("://")[2]
    if len(place) <= width:
        return place
    tail = (width - 1) // 3
    return place[: width - 1 - tail] + _ELLIPSIS + place[len(place) - tail :]


def _line(
    texts: Sequence[str], columns: Sequence[Column], shown: Sequence[int], widths: dict[int, int]
) -> str:
    padded = (
        text.rjust(widths[i]) if columns[i].is_number else text.ljust(widths[i])
        for text, i in zip(texts, shown, strict=True)
    )
    return _GAP.join(padded).rstrip()


def _printable(text: str) -> str:
    """What came from others must not steer the terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _coloured(line: str, colour: str) -> str:
    is_plain = colour not in _COLOURS or not sys.stdout.isatty() or os.environ.get("NO_COLOR")
    return line if is_plain else f"\x1b[{_COLOURS[colour]}m{line}\x1b[0m"


def sfu_table(sfus: Sequence[Sfu], width: int | None = None) -> list[str]:
    """Return one row per SFU; colour is the state, which is written too."""
    colours = [_STATUS_COLOURS.get(sfu.status, "") for sfu in sfus]
    return table(SFU_COLUMNS, [_cells(sfu) for sfu in sfus], width, colours)


def state_of(sfu: Sfu) -> str:
    """Return the state and its reason; a gateway of an older version tells neither."""
    state = sfu.state or sfu.status
    remarks = ["address shared"] if sfu.sharedAddress else []
    remarks += [warning.replace("_", " ") for warning in sfu.warnings]
    return ", ".join([f"{state} ({sfu.reason})" if sfu.reason else state, *remarks])


def _cells(sfu: Sfu) -> tuple[str, ...]:
    """One SFU's texts, by `SFU_COLUMNS`."""
    return (
        state_of(sfu), f"{sfu.load:.3f}", f"{sfu.sessions}/{sfu.maxSessions}", f"{sfu.cpuUsage:.0%}",
        f"{sfu.memoryUsage:.0%}", str(sfu.channels), f"{sfu.reserved:.1f}", f"{sfu.heartbeatAgeMs / 1000:.1f} s",
        sfu.region, sfu.address, _last_error_of(sfu),
    )  # fmt: skip


def _last_error_of(sfu: Sfu | ExplainedSfu) -> str:
    return f"{sfu.errors} x {sfu.lastError}" if sfu.errors else ""


def candidate_table(candidates: Sequence[ExplainedSfu], width: int | None = None) -> list[str]:
    """Return one row per candidate, the best first."""
    rows = [
        (
            _verdict_of(each), f"{each.score:.4f}", each.address, each.region, f"{each.terms.sessions:.4f}",
            f"{each.terms.cpu:.4f}", f"{each.terms.memory:.4f}", f"{each.terms.promised:.4f}", str(each.group or "-"),
            _last_error_of(each),
        )
        for each in candidates
    ]  # fmt: skip
    return table(_CANDIDATE_COLUMNS, rows, width)


def _verdict_of(candidate: ExplainedSfu) -> str:
    """Return the verdict in words: why an SFU refuses, and which one has or had the call."""
    if candidate.verdict == "sticky":
        return "keeps its call here"
    is_state = candidate.verdict == candidate.state and candidate.reason
    verdict = f"{candidate.verdict} ({candidate.reason})" if is_state else candidate.verdict
    return f"{verdict}, had the call" if candidate.hasCall else verdict


def totals(sfus: Sequence[Sfu]) -> str:
    """Return the fleet in one line."""
    alive = [sfu for sfu in sfus if not is_gone(sfu.state, sfu.status)]
    ejected = sum(sfu.state in ("ejected", "half-open") for sfu in alive)
    return (
        f"{len(alive)} of {len(sfus)} SFUs alive, {sum(sfu.status == 'draining' for sfu in alive)} draining, "
        f"{ejected} ejected, {sum(sfu.channels for sfu in alive)} channels, "
        f"{sum(sfu.sessions for sfu in alive)} sessions"
    )


def event_line(event: Event, width: int | None = None) -> str:
    """Return one transition in one line, with local time."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["at"] / 1000))
    before = f"{at}  {event['type']:<14}  "
    state = f"  {event['state']}" if event.get("state") else ""  # a gateway of an older version tells none
    reason = f" ({_printable(event['reason'])})" if event["reason"] else ""
    after = f"  {event['region'] or '-'}{state}{reason}"
    address = event["address"] or "-"
    room = len(address) if width is None else max(8, width - len(before) - len(after))
    return before + shortened(address, room) + after


def put(lines: Iterable[str]) -> None:
    """Write lines to standard output."""
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def show_again_and_again(
    look: Callable[[int | None], Awaitable[list[str]]], *, interval_s: float, count: int
) -> None:
    """Show what `look` returns for a width, every `interval_s` seconds, `count` times (0: until interrupted).

    At a terminal each view takes the place of the last; elsewhere, or when there is only one, they are printed.
    """
    number = 0
    is_redrawn = sys.stdout.isatty() and count != 1
    while True:
        lines = await look(terminal_width())
        if is_redrawn:
            room = shutil.get_terminal_size().lines - 1
            put(["\x1b[H\x1b[J" + lines[0], *lines[1:room]])
        else:
            put(lines)
        number += 1
        if number == count:
            return
        await asyncio.sleep(interval_s)
