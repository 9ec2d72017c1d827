"""`sfu-gateway why`: what is wrong, the worst first, or one green line."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import typer

from app.cli.exits import Exit
from app.cli.options import AsJson, Where, asking

if TYPE_CHECKING:
    from app.api.schemas import Cause, Diagnosis, Trouble

_UNBOUNDED: Final = 100_000
"""Columns where the output is no terminal: `grep` finds a whole line."""

_COLOURS: Final = {"error": typer.colors.RED, "warning": typer.colors.YELLOW}
_INDENT: Final = "  "
_ASK_A_SOURCE: Final = ("sfu-gateway sfu ", "sfu-gateway explain", "sfu-gateway events")


@asking
def why(where: Where, as_json: AsJson = False) -> None:
    """Show what is wrong, the worst first: since when, who is affected, the cause, the command, the runbook.

    Exits with 0 when nothing is wrong, with 10 for warnings and with 11 for errors.
    """

    diagnosis = where.ask(lambda source: source.diagnosis())
    if as_json:
        typer.echo(diagnosis.model_dump_json())
    else:
        from app.cli.tables import terminal_width

        for line in why_lines(diagnosis, terminal_width() or _UNBOUNDED, _options(where)):
            typer.echo(line)
    raise typer.Exit(exit_code(diagnosis))


def exit_code(diagnosis: Diagnosis) -> Exit:
    """Return how the command ends: by the worst of what is wrong."""
    if diagnosis.ok:
        return Exit.OK
    is_error = any(trouble.severity == "error" for trouble in diagnosis.troubles)
    return Exit.DOCTOR_ERROR if is_error else Exit.DOCTOR_WARNING


def _options(where: Where) -> str:
    """Return the option that asks the same source again, unless it has a password."""
    if where.gateway:
        return f" --gateway {where.gateway}"
    return f" --redis {where.redis}" if where.redis and "@" not in where.redis else ""


def why_lines(diagnosis: Diagnosis, width: int, options: str = "") -> Iterator[str]:
    """Yield the diagnosis in lines of at most `width` columns. Commands, which are copied, are not broken."""
    age = f", as seen {_duration(diagnosis.ageMs)} ago" if diagnosis.ageMs else ""
    if diagnosis.ok:
        yield typer.style(f"Nothing is wrong: {diagnosis.summary}{age}", fg=typer.colors.GREEN)
        return
    counts = [
        (word, sum(trouble.severity == word for trouble in diagnosis.troubles))
        for word in ("error", "warning")
    ]
    counted = ", ".join(f"{count} {word}{'s' if count > 1 else ''}" for word, count in counts if count)
    yield from _wrapped(f"{counted}. {diagnosis.summary}{age}", width)
    for trouble in diagnosis.troubles:
        yield ""
        yield from _block(trouble, width, options)


def _block(trouble: Trouble, width: int, options: str) -> Iterator[str]:
    first, *rest = _wrapped(f"{trouble.severity.upper()}: {trouble.what}", width)
    yield typer.style(first, fg=_COLOURS[trouble.severity])
    yield from rest
    yield from _wrapped(", ".join(_who(trouble)), width, _INDENT)
    if cause := "; ".join(_why(trouble.cause)):
        yield from _wrapped(f"Cause: {cause}", width, _INDENT)
    asks = trouble.command.startswith(
        (*_ASK_A_SOURCE, "sfu-gateway doctor") if "--redis" in options else _ASK_A_SOURCE
    )
    yield f"{_INDENT}Run: {trouble.command}{options if asks else ''}"
    yield f"{_INDENT}See: {trouble.runbook}"


def _who(trouble: Trouble) -> Iterator[str]:
    subject = trouble.subject
    region = f" ({subject.region})" if subject.region and subject.region != subject.name else ""
    yield (subject.name if subject.kind == "sfu" else f"{subject.kind} {subject.name}".strip()) + region
    if trouble.sinceMs is not None:
        yield f"for {_duration(trouble.sinceMs)}"
    if trouble.calls:
        yield f"{trouble.calls} {'call' if trouble.calls == 1 else 'calls'}"
    if trouble.people:
        yield f"{trouble.people} {'person' if trouble.people == 1 else 'people'}"


def _why(cause: Cause) -> Iterator[str]:
    last = [cause.lastError] if cause.lastError else []
    if cause.count:
        last.append("once" if cause.count == 1 else f"{cause.count} times")
    if cause.agoMs is not None:
        last.append(
            f"{_duration(cause.agoMs)} ago" if cause.count <= 1 else f"last {_duration(cause.agoMs)} ago"
        )
    if last:
        yield ", ".join(last)
    if cause.likely:
        yield cause.likely


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=_INDENT * 2,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _duration(ms: int) -> str:
    seconds = round(ms / 1000)
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 172_800 else f"{seconds // 86_400} d"
