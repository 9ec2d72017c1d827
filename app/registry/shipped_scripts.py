"""The scripts of `lua/`, each under its own name, with one policy in them."""

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass

from app.registry.policy import Policy
from app.registry.scripts import Script, load_script


@dataclass(frozen=True, slots=True)
class ShippedScripts:
    """One field per file."""

    acquire_lease: Script
    claim_schema: Script
    commit_cursor: Script
    confirm: Script
    end_unreachable: Script
    expire: Script
    explain: Script
    find_calls: Script
    find_suspects: Script
    finish_drains: Script
    forget: Script
    heartbeat: Script
    note_setup: Script
    read_fleet: Script
    reap: Script
    record_outcome: Script
    record_probe: Script
    reset: Script
    return_ejected: Script
    select: Script
    set_drain: Script
    settle_calls: Script
    sign_off: Script

    def __iter__(self) -> Iterator[Script]:
        """All of them, by name."""
        return (getattr(self, field.name) for field in dataclasses.fields(self))


@functools.lru_cache(maxsize=8)
def shipped_scripts(policy: Policy) -> ShippedScripts:
    """Return all scripts with `policy` in them. Read once for each policy."""
    return ShippedScripts(
        **{field.name: load_script(field.name, policy=policy) for field in dataclasses.fields(ShippedScripts)}
    )
