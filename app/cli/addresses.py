"""SFUs as people name them: a whole address, `host:port`, a host, or any part that only one address has."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from app.cli.exits import CommandError, Exit
from app.cli.options import Where

if TYPE_CHECKING:
    from app.api.schemas import Sfu
    from app.cli.sources.source import Backend

_COMPLETION_S: Final = 2.0
_NAMED: Final = 3
"""Addresses that an error names."""


async def find_sfu(source: Backend, text: str) -> Sfu:
    """Return the one SFU that `text` names. Raises `CommandError` when there is none, or more than one."""
    sfus = await source.sfus()
    addresses = named_by(text, [sfu.address for sfu in sfus])
    if not addresses:
        raise CommandError(f"no SFU is known as {text}; `sfu-gateway sfu list` shows them", Exit.REFUSED)
    if len(addresses) > 1:
        more = f" and {len(addresses) - _NAMED} more" if len(addresses) > _NAMED else ""
        named = ", ".join(addresses[:_NAMED])
        raise CommandError(f"ADDRESS: {text} is part of {named}{more}: give more of it", Exit.USAGE)
    return next(sfu for sfu in sfus if sfu.address == addresses[0])


def named_by(text: str, addresses: Sequence[str]) -> list[str]:
    """Return the addresses that `text` may mean: one that it is, else of that host, else with that part."""
    wanted = text.strip().rstrip("/").lower()
    for is_meant in (
        lambda address: wanted == address,
        lambda address: wanted == _place(address),
        lambda address: wanted == _host(address),
        lambda address: bool(wanted) and wanted in address,
    ):
        found = [address for address in addresses if is_meant(address.lower())]
        if found:
            return found
    return []


def _place(address: str) -> str:
    return address.partition("://")[2]


def _host(address: str) -> str:
    return _place(address).rpartition(":")[0]


def complete_address(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return what the shell offers: addresses after `http`, else hosts, with ports where a host has several SFUs."""
    sfus = _known_sfus(ctx)
    addresses = [sfu.address for sfu in sfus]
    if incomplete.startswith("http"):
        return [address for address in addresses if address.startswith(incomplete)]
    hosts = [_host(address) for address in addresses]
    offered = [
        host if host and hosts.count(host) == 1 else _place(address)
        for host, address in zip(hosts, addresses, strict=True)
    ]
    return [text for text in offered if text.startswith(incomplete)]


def complete_region(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the regions of the fleet."""
    regions = sorted({sfu.region for sfu in _known_sfus(ctx)})
    return [region for region in regions if region.startswith(incomplete)]


def _known_sfus(ctx: typer.Context) -> list[Sfu]:
    """Return the fleet that the options so far name. A shell that completes shows no errors."""
    options = {name: ctx.params.get(name) for name in ("redis", "gateway", "admin_token", "config")}
    where = Where(**{name: value for name, value in options.items() if value})

    async def look() -> list[Sfu]:
        opening = where.open()  # imports take their time too
        async with asyncio.timeout(_COMPLETION_S), opening as source:
            return await source.sfus()

    try:
        return asyncio.run(look())
    except Exception:  # noqa: BLE001 - whatever is wrong, the command itself will say it
        return []


Address = Annotated[
    str,
    typer.Argument(
        help="The address it registered with, its host:port, or a part that no other address has.",
        autocompletion=complete_address,
    ),
]
Region = Annotated[
    str, typer.Option("--region", help="Only SFUs of this region.", autocompletion=complete_region)
]
