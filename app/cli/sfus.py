"""`sfu-gateway sfu ...`: look at SFUs, and tell them what to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.exits import CommandError, Exit, told_in_one_line
from app.cli.options import AdminToken, AsJson, Config, Count, GatewayUrl, Interval, RedisUrl
from app.cli.sources.source import Backend, open_source

if TYPE_CHECKING:
    from rich.table import Table

    from app.api.schemas import Sfu

group = typer.Typer(
    help="Look at SFUs, drain, resume and forget them.", no_args_is_help=True, rich_markup_mode=None
)

_LOOK_AGAIN_S = 1.0

Address = Annotated[str, typer.Argument(help="The address it registered with, e.g. http://sfu1:8070.")]
Region = Annotated[str, typer.Option("--region", help="Only SFUs of this region.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask back.")]


@group.command("list")
def list_sfus(
    region: Region = "",
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again.")] = False,
    interval: Interval = 2,
    count: Count = 0,
    as_json: AsJson = False,
    redis: RedisUrl = "",
    gateway: GatewayUrl = "",
    admin_token: AdminToken = "",
    config: Config = None,
) -> None:
    """List SFUs, living and lost."""
    looks = count if watch else 1

    async def run() -> None:
        async with open_source(redis, gateway, admin_token, config) as source:
            await _list(source, region, interval, looks, as_json=as_json)

    with told_in_one_line(), suppress(KeyboardInterrupt):
        asyncio.run(run())


async def _list(source: Backend, region: str, interval_s: float, looks: int, *, as_json: bool) -> None:
    from app.cli.tables import sfu_table, show_again_and_again

    async def chosen() -> list[Sfu]:
        return [sfu for sfu in await source.sfus() if not region or sfu.region == region]

    async def look(width: int) -> Table:
        return sfu_table(await chosen(), width)

    if not as_json:
        await show_again_and_again(look, interval_s=interval_s, count=looks)
        return
    while True:
        typer.echo(json.dumps([sfu.model_dump() for sfu in await chosen()]))
        looks -= 1
        if looks == 0:
            return
        await asyncio.sleep(interval_s)


@group.command()
def show(
    address: Address,
    as_json: AsJson = False,
    redis: RedisUrl = "",
    gateway: GatewayUrl = "",
    admin_token: AdminToken = "",
    config: Config = None,
) -> None:
    """Show one SFU."""
    from app.cli.tables import console, table

    async def run() -> Sfu:
        async with open_source(redis, gateway, admin_token, config) as source:
            return _the(await source.sfus(), checked)

    with told_in_one_line():
        checked = _address(address)
        sfu = asyncio.run(run())
    if as_json:
        typer.echo(sfu.model_dump_json())
    else:
        console().print(table(("", ""), [(name, str(value)) for name, value in sfu]))


@group.command()
def drain(
    address: Address,
    deadline: Annotated[
        int, typer.Option(min=0, help="Seconds after which it keeps no calls either; 0: never.")
    ] = 0,
    move: Annotated[
        bool, typer.Option("--move", help="Ask Odoo to move its calls to other SFUs now (docs/rescue.md).")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when it is drained or down, and show how far it is.")
    ] = False,
    yes: Yes = False,
    redis: RedisUrl = "",
    gateway: GatewayUrl = "",
    admin_token: AdminToken = "",
    config: Config = None,
) -> None:
    """Let an SFU take no new channels. It keeps those it has, unless they are moved."""
    until = f", and no calls after {deadline} s" if deadline else ""
    moved = ", and move its calls" if move else ""

    async def carry_out(source: Backend, checked: str) -> None:
        await source.drain(checked, deadline * 1000, move=move)
        if wait:
            await wait_until_drained(source, checked)

    _order(
        address, f"Let {{}} take no new channels{until}{moved}?", "{} drains.", yes,
        carry_out, redis, gateway, admin_token, config,
    )  # fmt: skip


async def wait_until_drained(source: Backend, address: str) -> None:
    """Wait until an SFU has no sessions any more or is down; say when the figures change."""
    said = ""
    while True:
        sfu = _the(await source.sfus(), address)
        moves = sfu.moves
        text = f"{sfu.sessions} sessions" + (
            f"; calls: {moves.left} left, {moves.moved} moved, {moves.kept} kept, {moves.failed} failed"
            if moves
            else ""
        )
        if text != said:
            typer.echo(text)
            said = text
        if sfu.status == "down" or (sfu.sessions == 0 and not (moves and moves.left)):
            return
        await asyncio.sleep(_LOOK_AGAIN_S)


@group.command()
def resume(
    address: Address,
    yes: Yes = False,
    redis: RedisUrl = "",
    gateway: GatewayUrl = "",
    admin_token: AdminToken = "",
    config: Config = None,
) -> None:
    """Take back a drain."""
    _order(
        address, "Let {} take new channels again?", "{} no longer drains.", yes,
        lambda source, checked: source.resume(checked), redis, gateway, admin_token, config,
    )  # fmt: skip


@group.command()
def forget(
    address: Address,
    yes: Yes = False,
    redis: RedisUrl = "",
    gateway: GatewayUrl = "",
    admin_token: AdminToken = "",
    config: Config = None,
) -> None:
    """Remove every trace of an SFU. One that lives comes back with its next heartbeat."""
    _order(
        address, "Forget {} and where its calls are?", "{} is forgotten.", yes,
        lambda source, checked: source.forget(checked), redis, gateway, admin_token, config,
    )  # fmt: skip


def _order(
    address: str,
    question: str,
    done: str,
    is_sure: bool,
    carry_out: Callable[[Backend, str], Awaitable[None]],
    redis: str,
    gateway: str,
    admin_token: str,
    config: Path | None,
) -> None:
    """Ask back, carry an order out and say so."""

    async def run() -> None:
        async with open_source(redis, gateway, admin_token, config) as source:
            await carry_out(source, checked)

    with told_in_one_line():
        checked = _address(address)
        if not is_sure:
            typer.confirm(question.format(checked), abort=True)
        asyncio.run(run())
    typer.echo(done.format(checked))


def _address(text: str) -> str:
    from app.upstream.addresses import sfu_address

    try:
        return sfu_address(text)
    except ValueError as error:
        raise CommandError(f"ADDRESS: {error}", Exit.USAGE) from None


def _the(sfus: Sequence[Sfu], address: str) -> Sfu:
    for sfu in sfus:
        if sfu.address == address:
            return sfu
    raise CommandError(f"no SFU is known as {address}", Exit.REFUSED)
