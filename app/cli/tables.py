"""What people read at a terminal: tables without lines, one row per thing."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from app.api.schemas import ExplainedSfu, Sfu
    from app.events.event import Event

_UNBOUNDED: Final = 1_000
"""Columns of what is printed once: a terminal wraps it, `grep` finds it, nothing is cut."""

_COLUMNS: Final = (
    "ADDRESS", "REGION", "STATE", "LOAD", "SESSIONS", "RESERVED", "CHANNELS", "CPU", "MEMORY", "HEARTBEAT",
    "LAST ERROR",
)  # fmt: skip
_NARROW: Final = ("ADDRESS", "REGION", "STATE", "LOAD", "SESSIONS")
"""What is left on a terminal that has no room for all: a view that is redrawn must not wrap."""

_COLOURS: Final = {"up": "green", "draining": "yellow", "down": "red", "misconfigured": "red"}


def console(*, fits_terminal: bool = False) -> Console:
    """Return a console on standard output, as wide as it takes, or where there is one as the terminal."""
    from rich.console import Console

    width = None if fits_terminal and sys.stdout.isatty() else _UNBOUNDED
    return Console(width=width, highlight=False, markup=False, emoji=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str] = ()) -> Table:
    """Return a table; columns in `numbers` are set flush right."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(name, justify="right" if name in numbers else "left", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made


def sfu_table(sfus: Sequence[Sfu], width: int = _UNBOUNDED) -> Table:
    """Return one row per SFU, in `width` columns of text; colour is the state, which is written too."""
    cells = [_cells(sfu) for sfu in sfus]
    widest = [max(map(len, column)) for column in zip(_COLUMNS, *cells, strict=True)]
    shown = _COLUMNS if sum(widest) + 2 * len(widest) <= width else _NARROW
    made = table(shown, [], _COLUMNS[3:-1])
    for sfu, row in zip(sfus, cells, strict=True):
        chosen = [text for name, text in zip(_COLUMNS, row, strict=True) if name in shown]
        made.add_row(*chosen, style=_COLOURS.get(sfu.status, ""))
    return made


def state_of(sfu: Sfu) -> str:
    """Return the state and its reason; a gateway of an older version tells neither."""
    state = sfu.state or sfu.status
    shared = ", address shared" if sfu.sharedAddress else ""
    return f"{state} ({sfu.reason})" + shared if sfu.reason else state + shared


def _cells(sfu: Sfu) -> tuple[str, ...]:
    """One SFU's texts, by `_COLUMNS`."""
    return (
        sfu.address, sfu.region, state_of(sfu), f"{sfu.load:.3f}", f"{sfu.sessions}/{sfu.maxSessions}",
        f"{sfu.reserved:.1f}", str(sfu.channels), f"{sfu.cpuUsage:.0%}", f"{sfu.memoryUsage:.0%}",
        f"{sfu.heartbeatAgeMs / 1000:.1f} s", f"{sfu.errors} x {sfu.lastError}" if sfu.errors else "",
    )  # fmt: skip


def candidate_table(candidates: Sequence[ExplainedSfu]) -> Table:
    """Return one row per candidate, the best first."""
    columns = ("ADDRESS", "REGION", "VERDICT", "SCORE", "SESSIONS", "CPU", "MEMORY", "PROMISED", "GROUP")
    rows = [
        (
            each.address, each.region, _verdict_of(each), f"{each.score:.4f}", f"{each.terms.sessions:.4f}",
            f"{each.terms.cpu:.4f}", f"{each.terms.memory:.4f}", f"{each.terms.promised:.4f}", str(each.group or "-"),
        )
        for each in candidates
    ]  # fmt: skip
    return table(columns, rows, columns[3:])


def _verdict_of(candidate: ExplainedSfu) -> str:
    """Return the verdict in words: why an SFU refuses, and which one has or had the call."""
    if candidate.verdict == "sticky":
        return "keeps its call here"
    is_state = candidate.verdict == candidate.state and candidate.reason
    verdict = f"{candidate.verdict} ({candidate.reason})" if is_state else candidate.verdict
    return f"{verdict}, had the call" if candidate.hasCall else verdict


def totals(sfus: Sequence[Sfu]) -> str:
    """Return the fleet in one line."""
    alive = [sfu for sfu in sfus if sfu.status != "down"]
    open_breakers = sum(sfu.breaker == "open" for sfu in alive)
    return (
        f"{len(alive)} of {len(sfus)} SFUs alive, {sum(sfu.status == 'draining' for sfu in alive)} draining, "
        f"{open_breakers} open breakers, {sum(sfu.channels for sfu in alive)} channels, "
        f"{sum(sfu.sessions for sfu in alive)} sessions"
    )


def event_line(event: Event) -> str:
    """Return one transition in one line, with local time."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["at"] / 1000))
    state = f"  {event['state']}" if event.get("state") else ""  # a gateway of an older version tells none
    reason = f" ({event['reason']})" if event["reason"] else ""
    return f"{at}  {event['type']:<14}  {event['address'] or '-'}  {event['region'] or '-'}{state}{reason}"


async def show_again_and_again(
    look: Callable[[int], Awaitable[Table]], *, interval_s: float, count: int
) -> None:
    """Show what `look` returns for a width, every `interval_s` seconds, `count` times (0: until interrupted).

    At a terminal each view takes the place of the last; elsewhere, or when there is only one, they are printed.
    """
    from rich.live import Live

    out, number = console(fits_terminal=count != 1), 0
    live = Live(console=out, auto_refresh=False) if out.is_terminal and count != 1 else None
    with live or nullcontext():
        while True:
            view = await look(out.width)
            if live is None:
                out.print(view)
            else:
                live.update(view, refresh=True)
            number += 1
            if number == count:
                return
            await asyncio.sleep(interval_s)
