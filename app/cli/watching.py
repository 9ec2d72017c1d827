"""`explain`, `events` and `top`: why a call lands where it does, and what is going on."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.exits import told_in_one_line
from app.cli.options import AdminToken, AsJson, Config, Count, GatewayUrl, Interval, RedisUrl
from app.cli.sources.source import Backend, PlacementQuery, open_source

if TYPE_CHECKING:
    from rich.table import Table

    from app.api.schemas import Explanation, Hint


def explain(
    region: Annotated[str, typer.Option(help="Region hint, as in ?region=.")] = "",
    country: Annotated[str, typer.Option(help="Country hint (ISO 3166-1), as in ?country=.")] = "",
    issuer: Annotated[str, typer.Option(help="The `iss` that would ask: shows where it is sticky.")] = "",
    tenant: Annotated[str, typer.Option(help="The tenant that would ask; default: the default one.")] = "",
    as_json: AsJson = False,
    redis: RedisUrl = "",
    gateway: GatewayUrl = "",
    admin_token: AdminToken = "",
    config: Config = None,
) -> None:
    """Show where a channel would be placed, and why not elsewhere. Changes nothing."""
    question = PlacementQuery(region or None, country or None, issuer, tenant or None)

    async def run() -> Explanation:
        async with open_source(redis, gateway, admin_token, config) as source:
            return await source.explain(question)

    with told_in_one_line():
        explanation = asyncio.run(run())
    if as_json:
        typer.echo(explanation.model_dump_json())
        return
    from app.cli.tables import candidate_table, console

    typer.echo(_where(explanation.hint, explanation.groups))
    typer.echo(explanation.answer)
    console().print(candidate_table(explanation.candidates))


def _where(hint: Hint, groups: Sequence[Sequence[str]]) -> str:
    from app.registry.placements import ANYWHERE

    said = f"{hint.region}, by {hint.source}" if hint.region else "none"
    ignored = " (a hint was given that nobody knows)" if hint.ignored else ""
    order = ", then ".join("anywhere" if ANYWHERE in group else " or ".join(group) for group in groups)
    return f"Region hint: {said}{ignored}. Tried in order: {order or 'nowhere'}."


def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens next.")] = False,
    since: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Begin this many seconds ago. Default: an hour, or with --follow now.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
    redis: RedisUrl = "",
    gateway: GatewayUrl = "",
    config: Config = None,
) -> None:
    """Show transitions of SFUs: up, down, draining, breakers, overload."""

    async def run() -> None:
        async with open_source(redis, gateway, "", config) as source:
            await _print_events(source, _after(since, follow=follow), follow=follow, as_json=as_json)

    with told_in_one_line(), suppress(KeyboardInterrupt):
        asyncio.run(run())


def _after(since_s: float | None, *, follow: bool) -> str | None:
    """The stream id to begin after; ids are milliseconds of Redis' clock."""
    if since_s is None:
        if follow:
            return None
        since_s = 3600
    return f"{max(0, int((time.time() - since_s) * 1000))}-0"


async def _print_events(source: Backend, after: str | None, *, follow: bool, as_json: bool) -> None:
    from app.cli.tables import event_line

    async with aclosing(source.events(after, follow=follow)) as events:
        async for event in events:
            typer.echo(json.dumps(event) if as_json else event_line(event))


def top(
    interval: Interval = 1,
    count: Count = 0,
    most: Annotated[int, typer.Option("--most", min=1, help="SFUs to show.")] = 20,
    redis: RedisUrl = "",
    gateway: GatewayUrl = "",
    config: Config = None,
) -> None:
    """Watch the most loaded SFUs."""

    async def run() -> None:
        from app.cli.tables import show_again_and_again

        async with open_source(redis, gateway, "", config) as source:

            async def look(width: int) -> Table:
                return await _top(source, most, width)

            await show_again_and_again(look, interval_s=interval, count=count)

    with told_in_one_line(), suppress(KeyboardInterrupt):
        asyncio.run(run())


async def _top(source: Backend, most: int, width: int) -> Table:
    from app.cli.tables import sfu_table, totals

    sfus = await source.sfus()
    made = sfu_table(sorted(sfus, key=lambda sfu: (sfu.status == "down", -sfu.load))[:most], width)
    made.title, made.title_justify, made.title_style = totals(sfus), "left", ""
    return made
