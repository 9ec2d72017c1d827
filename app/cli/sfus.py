"""`sfu-gateway sfu ...`: look at SFUs, and tell them what to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from app.cli.addresses import Address, Region, find_sfu
from app.cli.durations import duration
from app.cli.exits import CommandError, Exit
from app.cli.options import AsJson, Count, Interval, Where, asking, examples
from app.states import STATES, is_gone

if TYPE_CHECKING:
    from app.api.schemas import Sfu
    from app.cli.sources.source import Backend

group = typer.Typer(
    help="Look at SFUs, drain, resume, reset and forget them.", no_args_is_help=True, rich_markup_mode=None
)

_LOOK_AGAIN_S = 1.0

Order = Literal["region", "address", "state", "load", "sessions", "channels", "cpu", "memory", "heartbeat"]

_SORTS: Final[dict[Order, Callable[[Sfu], tuple[object, ...]]]] = {
    "region": lambda sfu: (sfu.region, sfu.address),
    "address": lambda sfu: (sfu.address,),
    "state": lambda sfu: (sfu.state or sfu.status, -sfu.load),
    "load": lambda sfu: (is_gone(sfu.state, sfu.status), -sfu.load),
    "sessions": lambda sfu: (-sfu.sessions,),
    "channels": lambda sfu: (-sfu.channels,),
    "cpu": lambda sfu: (-sfu.cpuUsage,),
    "memory": lambda sfu: (-sfu.memoryUsage,),
    "heartbeat": lambda sfu: (-sfu.heartbeatAgeMs,),
}


def _states(value: object) -> str:
    states = [part.strip() for part in str(value).split(",") if part.strip()]
    if unknown := set(states) - set(STATES):
        raise typer.BadParameter(f"{min(unknown)!r} is no state: give {', '.join(STATES)}")
    return ",".join(states)


Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask back.")]
States = Annotated[
    str,
    typer.Option(
        "--state",
        parser=_states,
        metavar="STATE",
        help=f"Only SFUs in these states, comma-separated: {', '.join(STATES)}.",
        autocompletion=lambda incomplete: [state for state in STATES if state.startswith(incomplete)],
    ),
]
SortBy = Annotated[Order, typer.Option("--sort", help="Figures: the highest first.")]


@group.command(
    "list",
    epilog=examples(
        "sfu list --gateway https://gateway.example.com",
        "sfu list --state ejected,lost",
        "sfu list --region eu-west --sort load --watch",
        "sfu list --json | jq -r '.[].address'",
    ),
)
@asking
def list_sfus(
    where: Where,
    region: Region = "",
    state: States = "",
    sort: SortBy = "region",
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again.")] = False,
    interval: Interval = 2,
    count: Count = 0,
    as_json: AsJson = False,
) -> None:
    """List SFUs, living and lost."""

    async def run(source: Backend) -> None:
        async def chosen() -> list[Sfu]:
            return sorted(
                _chosen(await source.sfus(), region, state.split(",") if state else ()), key=_SORTS[sort]
            )

        await _list(chosen, interval, count if watch else 1, as_json=as_json)

    with suppress(KeyboardInterrupt):
        where.ask(run)


def _chosen(sfus: Sequence[Sfu], region: str, states: Sequence[str]) -> list[Sfu]:
    """Return the SFUs of a region in some states. Raises `CommandError`: no SFU is in this region."""
    regions = sorted({sfu.region for sfu in sfus})
    if region and region not in regions:
        known = ", ".join(regions) or "none"
        raise CommandError(f"--region: no SFU is in {region}; regions with SFUs: {known}", Exit.REFUSED)
    return [
        sfu
        for sfu in sfus
        if region in ("", sfu.region) and (not states or (sfu.state or sfu.status) in states)
    ]


async def _list(
    chosen: Callable[[], Awaitable[list[Sfu]]], interval_s: float, looks: int, *, as_json: bool
) -> None:
    from app.cli.tables import sfu_table, show_again_and_again

    async def look(width: int | None) -> list[str]:
        sfus = await chosen()
        return [json.dumps([sfu.model_dump() for sfu in sfus])] if as_json else sfu_table(sfus, width)

    await show_again_and_again(look, interval_s=interval_s, count=looks)


@group.command(epilog=examples("sfu show sfu1.example.com", "sfu show http://sfu1:8070 --json"))
@asking
def show(where: Where, address: Address, as_json: AsJson = False) -> None:
    """Show one SFU."""
    from app.cli.tables import Column, put, table

    sfu = where.ask(lambda source: find_sfu(source, address))
    if as_json:
        typer.echo(sfu.model_dump_json())
    else:
        put(table((Column(""), Column("")), [(name, str(value)) for name, value in sfu])[1:])


@group.command(
    epilog=examples(
        "sfu drain sfu1.example.com --wait",
        "sfu drain http://sfu1:8070 --deadline 30m --yes",
        "sfu drain sfu1 --move --wait --yes",
    )
)
@asking
def drain(
    where: Where,
    address: Address,
    deadline: Annotated[
        float | None,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            help="Time after which it keeps no calls either, as in 30m; 0: never. "
            "Default: never, or what an earlier drain said.",
        ),
    ] = None,
    move: Annotated[
        bool, typer.Option("--move", help="Ask Odoo to move its calls to other SFUs now (docs/rescue.md).")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when it is empty or down, and show how far it is.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Let an SFU take no new channels. It keeps those it has, unless they are moved.

    An SFU that drains already goes on as it does: --wait alone waits for it.
    """
    until = f", and no calls after {deadline:g} s" if deadline else ""
    moved = ", and move its calls" if move else ""

    async def carry_out(source: Backend, sfu: Sfu) -> None:
        is_told = sfu.state in ("draining", "drained") and sfu.reason == "operator"
        if not is_told or deadline is not None or move:
            await source.drain(sfu.address, int((deadline or 0) * 1000), move=move)
        typer.echo(f"{sfu.address} drains.")
        if wait:
            await wait_until_empty(source, sfu.address)
        else:
            typer.echo(left_on(await find_sfu(source, sfu.address)))

    _order(where, address, f"Let {{}} take no new channels{until}{moved}?", yes, carry_out)


async def wait_until_empty(source: Backend, address: str) -> None:
    """Wait until nobody is left on an SFU, or until it is gone; say when the figures change."""
    said = ""
    while True:
        sfu = await find_sfu(source, address)
        text = left_on(sfu)
        if text != said:
            typer.echo(text)
            said = text
        gone = is_gone(sfu.state, sfu.status)
        if gone or (sfu.sessions == 0 and not (sfu.moves and sfu.moves.left)):
            typer.echo(f"{address} is {(sfu.state or 'down') if gone else 'empty'}.")
            return
        await asyncio.sleep(_LOOK_AGAIN_S)


def left_on(sfu: Sfu) -> str:
    """Return who is still on an SFU, and how far the moving of its calls is."""
    people = f"{sfu.sessions} {'person' if sfu.sessions == 1 else 'people'}"
    channels = f"{sfu.channels} channel{'' if sfu.channels == 1 else 's'}"
    moves = sfu.moves
    moved = (
        f"; calls: {moves.left} left, {moves.moved} moved, {moves.kept} kept, {moves.failed} failed"
        if moves
        else ""
    )
    return f"{people} in {channels} left{moved}"


@group.command(epilog=examples("sfu resume sfu1.example.com"))
@asking
def resume(where: Where, address: Address, yes: Yes = False) -> None:
    """Take back a drain."""

    async def carry_out(source: Backend, sfu: Sfu) -> None:
        await source.resume(sfu.address)
        typer.echo(f"{sfu.address} no longer drains.")

    _order(where, address, "Let {} take new channels again?", yes, carry_out)


@group.command(epilog=examples("sfu reset sfu1.example.com", "sfu reset http://sfu1:8070 --yes"))
@asking
def reset(where: Where, address: Address, yes: Yes = False) -> None:
    """End an SFU's ejection and forget its failures. One that still fails is ejected again."""

    async def carry_out(source: Backend, sfu: Sfu) -> None:
        await source.reset(sfu.address)
        typer.echo(f"{sfu.address} is not ejected any more: its failures are forgotten.")

    _order(where, address, "End the ejection of {} and forget its failures?", yes, carry_out)


@group.command(epilog=examples("sfu forget sfu1.example.com"))
@asking
def forget(where: Where, address: Address, yes: Yes = False) -> None:
    """Remove every trace of an SFU. One that lives comes back with its next heartbeat."""

    async def carry_out(source: Backend, sfu: Sfu) -> None:
        await source.forget(sfu.address)
        typer.echo(f"{sfu.address} is forgotten.")

    _order(where, address, "Forget {} and where its calls are?", yes, carry_out)


def _order(
    where: Where,
    address: str,
    question: str,
    is_sure: bool,
    carry_out: Callable[[Backend, Sfu], Awaitable[None]],
) -> None:
    """Find the SFU, ask back unless the operator `is_sure`, and carry the order out."""

    async def run(source: Backend) -> None:
        sfu = await find_sfu(source, address)
        if not is_sure:
            typer.confirm(question.format(sfu.address), abort=True)
        await carry_out(source, sfu)

    where.ask(run)
