"""`explain`, `events` and `top`: why a call lands where it does, and what is going on."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.addresses import complete_region
from app.cli.durations import duration
from app.cli.options import AsJson, Count, Interval, Where, asking
from app.states import is_gone

if TYPE_CHECKING:
    from app.api.schemas import Hint
    from app.cli.sources.source import Backend


@asking
def explain(
    where: Where,
    region: Annotated[
        str, typer.Option(help="Region hint, as in ?region=.", autocompletion=complete_region)
    ] = "",
    country: Annotated[str, typer.Option(help="Country hint (ISO 3166-1), as in ?country=.")] = "",
    issuer: Annotated[str, typer.Option(help="The `iss` that would ask: shows where it is sticky.")] = "",
    tenant: Annotated[str, typer.Option(help="The tenant that would ask; default: the default one.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show where a channel would be placed, and why not elsewhere. Changes nothing."""
    from app.cli.sources.source import PlacementQuery

    question = PlacementQuery(region or None, country or None, issuer, tenant or None)
    explanation = where.ask(lambda source: source.explain(question))
    if as_json:
        typer.echo(explanation.model_dump_json())
        return
    from app.cli.tables import candidate_table, put, terminal_width

    typer.echo(_where(explanation.hint, explanation.groups))
    typer.echo(explanation.answer)
    put(candidate_table(explanation.candidates, terminal_width()))


def _where(hint: Hint, groups: Sequence[Sequence[str]]) -> str:
    from app.registry.placements import ANYWHERE

    said = f"{hint.region}, by {hint.source}" if hint.region else "none"
    ignored = " (a hint was given that nobody knows)" if hint.ignored else ""
    order = ", then ".join("anywhere" if ANYWHERE in group else " or ".join(group) for group in groups)
    return f"Region hint: {said}{ignored}. Tried in order: {order or 'nowhere'}."


@asking
def events(
    where: Where,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens next.")] = False,
    since: Annotated[
        float | None,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            help="Begin this long ago, as in 15m. Default: an hour, or with --follow now.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show transitions of SFUs: up, down, draining, breakers, overload."""

    async def run(source: Backend) -> None:
        from app.cli.tables import event_line, terminal_width

        async with aclosing(source.events(_after(since, follow=follow), follow=follow)) as told:
            async for event in told:
                typer.echo(json.dumps(event) if as_json else event_line(event, terminal_width()))

    with suppress(KeyboardInterrupt):
        where.ask(run)


def _after(since_s: float | None, *, follow: bool) -> str | None:
    """The stream id to begin after; ids are milliseconds of Redis' clock."""
    if since_s is None:
        if follow:
            return None
        since_s = 3600
    return f"{max(0, int((time.time() - since_s) * 1000))}-0"


@asking
def top(
    where: Where,
    interval: Interval = 1,
    count: Count = 0,
    most: Annotated[int, typer.Option("--most", min=1, help="SFUs to show.")] = 20,
) -> None:
    """Watch the most loaded SFUs."""

    async def run(source: Backend) -> None:
        from app.cli.tables import sfu_table, show_again_and_again, totals

        async def look(width: int | None) -> list[str]:
            sfus = await source.sfus()
            loaded = sorted(sfus, key=lambda sfu: (is_gone(sfu.state, sfu.status), -sfu.load))[:most]
            return [totals(sfus), *sfu_table(loaded, width)]

        await show_again_and_again(look, interval_s=interval, count=count)

    with suppress(KeyboardInterrupt):
        where.ask(run)
