"""Conformance to docs/sfu.md: holds a gateway or an SFU against its clauses and says what came out."""

import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import asdict

from app.crypto.tokens import Key
from workers.conformance import gateway as conformance_gateway
from workers.conformance import sfu as conformance_sfu
from workers.conformance.clause import Outcome, decide_all
from workers.conformance.played_sfu import forget, new_address, playing_sfu


async def hold_gateway(
    url: str, registration_key: Key, address: str = "", admin_token: str = ""
) -> AsyncIterator[Outcome]:
    """Play an SFU against the gateway at `url`; `address` is what it registers, by default one of no use.

    All clauses use one address, so that the gateway lists one SFU at most. With the `admin_token` it forgets that
    one, too; else it shows it as down until `health.lost_ttl_s` has passed.
    """
    address = address or new_address()
    try:
        async for outcome in decide_all(
            conformance_gateway.CLAUSES, lambda: playing_sfu(url, registration_key, address)
        ):
            yield outcome
    finally:
        if admin_token:
            await forget(url, address, admin_token)


def hold_sfu(url: str, key: Key) -> AsyncIterator[Outcome]:
    """Play Odoo against the SFU at `url`, whose key is `key`."""
    return decide_all(conformance_sfu.CLAUSES, lambda: conformance_sfu.playing_odoo(url, key))


async def report(
    runs: Iterable[AsyncIterator[Outcome]], say: Callable[[str], object], *, as_json: bool
) -> bool:
    """Decide all clauses of `runs` and return whether every one was kept.

    `say` gets a line as soon as a clause is decided, or at the end one JSON list.
    """
    outcomes = []
    for run in runs:
        async for outcome in run:
            outcomes.append(outcome)
            if not as_json:
                say(_row(outcome))
    kept = sum(outcome.passed for outcome in outcomes)
    say(
        json.dumps([asdict(outcome) for outcome in outcomes], indent=2)
        if as_json
        else f"\n{kept} of {len(outcomes)} clauses kept"
    )
    return kept == len(outcomes)


def _row(outcome: Outcome) -> str:
    """Return `outcome` as a row of a table, with a second line when something was wrong."""
    row = f"{'pass' if outcome.passed else 'FAIL'}  {outcome.id:<8} {outcome.clause}"
    return row if outcome.passed else f"{row}\n{'':15}-> {outcome.detail}"
