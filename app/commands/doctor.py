"""`sfu-gateway doctor`: what is wrong with the Redis of a deployment, and what mends it."""

import asyncio
import json
from typing import TYPE_CHECKING, Final

import typer

from app.commands.exits import told_in_one_line
from app.commands.options import AsJson, Config, RedisUrl
from app.commands.source import settings_for

if TYPE_CHECKING:
    from app.commands.checks import Finding
    from app.settings import Settings

_COLOURS: Final = {"OK": "green", "WARNING": "yellow", "ERROR": "red"}


def doctor(as_json: AsJson = False, redis: RedisUrl = "", config: Config = None) -> None:
    """Examine Redis: version, latency, persistence, eviction, scripts, orphans, clocks. Exits by severity."""
    with told_in_one_line():
        findings = asyncio.run(_findings(settings_for(redis, config)))
    if as_json:
        typer.echo(json.dumps([_document(finding) for finding in findings]))
    else:
        _print(findings)
    raise typer.Exit(max(finding.severity for finding in findings))


async def _findings(settings: "Settings") -> "list[Finding]":
    from app.commands.checks import Patient, examine
    from app.registry import Registry
    from app.store import close_store, connect

    client = connect(settings.redis)
    try:
        registry = Registry.from_settings(client, settings)
        return [finding async for finding in examine(Patient(client, registry, settings))]
    finally:
        await close_store(client)


def _document(finding: "Finding") -> dict[str, str]:
    return {
        "check": finding.check,
        "severity": finding.severity.name.lower(),
        "found": finding.found,
        "fix": finding.fix,
    }


def _print(findings: "list[Finding]") -> None:
    from app.commands.tables import console, table

    made = table(("CHECK", "", "FOUND", "FIX"), [])
    for each in findings:
        severity = each.severity.name
        made.add_row(each.check, severity, each.found, each.fix, style=_COLOURS[severity])
    for column in made.columns[2:]:
        column.no_wrap = False
    console(fits_terminal=True).print(made)
