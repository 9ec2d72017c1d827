"""Calls whose SFU is lost, or which are to leave it (`app.rescue`)."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, cast, get_args

from app.registry.commands import RegistryCommands
from app.registry.losses import Loss, LostCall, RescueResult, Suspect
from app.registry.scripts import utf8

_BATCH: Final = 25


class Rescues:
    """Finds lost calls and notes what became of them."""

    def __init__(self, commands: RegistryCommands) -> None:
        self._commands = commands
        self._scripts = commands.scripts
        self._keys = commands.keys

    async def cursor(self) -> str | None:
        """Return the stream id up to which calls have been rescued or given up; `None` at the very first."""
        return await self._commands.fleet_field("rescue_cursor")

    async def find_suspects(self) -> list[Suspect]:
        """Return SFUs whose heartbeat is late or to which a forward failed; none while most of the fleet is so."""
        found = await self._commands.run(self._scripts.find_suspects, _BATCH)
        return [
            Suspect(address, int(generation), int(reported_at)) for address, generation, reported_at in found
        ]

    async def end_unreachable(self, suspect: Suspect) -> Literal["ended", "alive", "mass"]:
        """End the registration of an SFU that does not answer, unless it has reported or most others are gone."""
        reply = await self._commands.run(
            self._scripts.end_unreachable, suspect.address, suspect.generation, suspect.reported_at
        )
        return cast("Literal['ended', 'alive', 'mass']", reply)

    async def calls_of(self, address: str) -> list[str]:
        """Return the names of all calls of an SFU, `tenant:issuer`, the oldest confirmation first."""
        return cast("list[str]", await self._commands.send("zrange", self._keys.calls(address), 0, -1))

    async def find_calls(
        self, loss: Loss, calls: Sequence[str], *, moving_ms: int = 0
    ) -> list[LostCall] | None:
        """Return which of `calls` the `loss` still concerns; `None` while most of the fleet seems to be gone.

        With `moving_ms` those calls are placed on other SFUs for so long, although theirs lives.
        """
        is_mass, *found = await self._commands.run(
            self._scripts.find_calls,
            loss.address,
            loss.generation,
            loss.event_id,
            moving_ms,
            int(loss.may_be_mass),
            *map(utf8, calls),
        )
        return None if is_mass else [LostCall(name, uuid) for name, uuid in found]

    async def settle_calls(self, loss: Loss, results: Mapping[str, RescueResult]) -> None:
        """Note what became of calls that the `loss` concerns; they are not found for it again."""
        pairs = [part for name, result in results.items() for part in (utf8(name), result)]
        await self._commands.run(
            self._scripts.settle_calls, loss.address, loss.generation, loss.event_id, int(loss.lives), *pairs
        )

    async def has_other_sfus(self) -> bool:
        """Whether an SFU can take calls at the moment, ejected ones included."""
        return bool(await self._commands.send("exists", self._keys.load(), self._keys.ejected()))

    async def totals(self) -> dict[str, int]:
        """Return how many calls were rescued so far, by result, and under `ms` how long that took in sum."""
        names = (*get_args(RescueResult), "ms")
        values = await self._commands.send("hmget", self._keys.fleet, [f"rescue_{name}" for name in names])
        return {name: int(value or 0) for name, value in zip(names, values, strict=True)}
