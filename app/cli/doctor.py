"""`sfu-gateway doctor`: what is wrong with the Redis of a deployment, and what mends it."""

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Final

import typer

from app.cli.exits import told_in_one_line
from app.cli.options import AsJson, Config, RedisUrl
from app.cli.sources.source import settings_for

if TYPE_CHECKING:
    from app.registry.examination import Finding
    from app.settings.model import Settings

_COLOURS: Final = {"OK": "green", "WARNING": "yellow", "ERROR": "red"}


Gateway = Annotated[str, typer.Option("--gateway", help="Base URL of a gateway: its clock is compared, too.")]


def doctor(
    as_json: AsJson = False, redis: RedisUrl = "", gateway: Gateway = "", config: Config = None
) -> None:
    """Examine Redis: version, latency, writes, persistence, eviction, scripts, orphans, clocks. Exits by severity."""
    with told_in_one_line():
        findings = asyncio.run(findings_of(settings_for(redis, config), gateway))
    if as_json:
        typer.echo(json.dumps([document_of(finding) for finding in findings]))
    else:
        _print(findings)
    raise typer.Exit(max(finding.severity for finding in findings))


async def findings_of(settings: "Settings", gateway: str = "") -> "list[Finding]":
    """Return what each check found, with the Redis of `settings` and the `gateway` at that base URL, if any."""
    from app.cli.sources.redis import patient_of
    from app.registry.client import close_client
    from app.registry.examination import examine, gateway_clock

    patient = patient_of(settings)
    try:
        findings = [finding async for finding in examine(patient)]
        return [*findings, await gateway_clock(gateway)] if gateway else findings
    finally:
        await close_client(patient.client)


def document_of(finding: "Finding") -> dict[str, str]:
    """Return a finding as `--json` shows it."""
    return {
        "check": finding.check,
        "severity": finding.severity.name.lower(),
        "found": finding.found,
        "fix": finding.fix,
    }


def _print(findings: "list[Finding]") -> None:
    from app.cli.tables import Column, put, table, terminal_width

    columns = (Column("CHECK"), Column(""), Column("FOUND", fit="wrap"), Column("FIX", fit="wrap"))
    rows = [(each.check, each.severity.name, each.found, each.fix) for each in findings]
    put(table(columns, rows, terminal_width(), [_COLOURS[each.severity.name] for each in findings]))
