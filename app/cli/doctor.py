"""`sfu-gateway doctor`: what is wrong with the Redis of a deployment, and what mends it."""

import asyncio
import json
from typing import TYPE_CHECKING, Final

import typer

from app.cli.exits import told_in_one_line
from app.cli.options import AsJson, Config, RedisUrl
from app.cli.sources.source import settings_for

if TYPE_CHECKING:
    from app.registry.examination import Finding
    from app.settings.model import Settings

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
    from app.registry.client import close_client, connect
    from app.registry.examination import Patient, examine
    from app.registry.registry import Registry

    client = connect(settings.redis)
    try:
        registry = Registry.from_settings(client, settings)
        return [finding async for finding in examine(Patient(client, registry, settings))]
    finally:
        await close_client(client)


def _document(finding: "Finding") -> dict[str, str]:
    return {
        "check": finding.check,
        "severity": finding.severity.name.lower(),
        "found": finding.found,
        "fix": finding.fix,
    }


def _print(findings: "list[Finding]") -> None:
    from app.cli.tables import console, table

    made = table(("CHECK", "", "FOUND", "FIX"), [])
    for each in findings:
        severity = each.severity.name
        made.add_row(each.check, severity, each.found, each.fix, style=_COLOURS[severity])
    for column in made.columns[2:]:
        column.no_wrap = False
    console(fits_terminal=True).print(made)
