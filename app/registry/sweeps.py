"""The sweeper's steps: each ends what is due, a few at a time."""

from typing import Final, cast

from app.registry.commands import RegistryCommands
from app.registry.sfus import Sweep

_BATCH: Final = 25


class Sweeps:
    """One method per step."""

    def __init__(self, commands: RegistryCommands) -> None:
        self._commands = commands
        self._scripts = commands.scripts

    async def acquire_lease(self, name: str, lease_ms: int) -> bool:
        """Take or renew the lease of the active sweeper. Returns whether `name` has it."""
        return bool(await self._commands.runner.run(self._scripts.acquire_lease, name, lease_ms))

    async def expire(self) -> Sweep:
        """End a few registrations whose health deadline has passed, and forget SFUs that were lost long ago."""
        code, *rest = await self._commands.run(self._scripts.expire, _BATCH)
        if code == "suspended":
            return Sweep(0, has_more=False, expiry_suspended_until=int(rest[0]))
        has_more, *addresses = rest
        return Sweep(len(addresses), bool(has_more), addresses=tuple(addresses))

    async def reap(self) -> Sweep:
        """End a few attempts that never reported."""
        _, count, has_more = await self._commands.run(self._scripts.reap, _BATCH)
        return Sweep(int(count), bool(has_more))

    async def finish_drains(self) -> Sweep:
        """Announce a few drain deadlines that have passed."""
        _, count, has_more = await self._commands.run(self._scripts.finish_drains, _BATCH)
        return Sweep(int(count), bool(has_more))

    async def claim_probes(self, lease_ms: int) -> list[str]:
        """Bring back SFUs whose ejection is over; return those to probe, each handed out once per `lease_ms`.

        An SFU is probed shortly before its ejection ends. Without a probe it returns all the same.
        """
        return cast("list[str]", await self._commands.run(self._scripts.return_ejected, _BATCH, lease_ms))

    async def probe(self, address: str, *, answered: bool) -> str:
        """Record the outcome of a probe; return the SFU's state, or `gone`."""
        reply = await self._commands.run(
            self._scripts.record_probe, address, int(answered), self._commands.draw()
        )
        return str(reply[1])
