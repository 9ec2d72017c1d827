"""Reading the fleet, and what operators tell an SFU to do."""

import json
from collections.abc import Sequence
from typing import Any, Final

from app.crypto.sealing import Sealer
from app.errors import UnknownSfu
from app.registry.commands import RegistryCommands
from app.registry.explain import Decision, Explained, explain
from app.registry.fleet_reader import FleetPage, FleetReader
from app.registry.placements import PlacementRequest
from app.registry.scripts import utf8
from app.registry.sfus import SfuReport, SfuStatus, in_order
from app.registry.snapshot import Snapshot

_PAGE: Final = 100


class Fleet:
    """Every SFU, living and lost. Not for a request path."""

    def __init__(self, commands: RegistryCommands, sealer: Sealer) -> None:
        self._commands = commands
        self._scripts = commands.scripts
        self._sealer = sealer

    async def drain(self, address: str, *, deadline_ms: int = 0, move: bool = False) -> None:
        """Let an SFU take no new channels; after `deadline_ms` (0: never) it does not keep its calls either.

        With `move`, the sweeper asks Odoo to move the calls: `app.rescue`.

        Raises:
            UnknownSfu: not registered now; a drain belongs to a registration and ends with it.
        """
        _known(address, await self._commands.run(self._scripts.set_drain, address, deadline_ms, int(move)))

    async def resume(self, address: str) -> None:
        """Take back a drain. Raises `UnknownSfu`."""
        _known(address, await self._commands.run(self._scripts.set_drain, address, "", 0))

    async def forget(self, address: str) -> None:
        """Remove every trace of an SFU. Raises `UnknownSfu`."""
        _known(address, await self._commands.run(self._scripts.forget, address))

    async def reset(self, address: str) -> None:
        """End an SFU's ejection and forget its failures. Raises `UnknownSfu`."""
        _known(address, await self._commands.run(self._scripts.reset, address))

    async def page(self, after: str, count: int, after_event: str, besides: Sequence[str] = ()) -> FleetPage:
        """Return one page of a replica's reading (`app.registry.fleet_reader.ReadPage`)."""
        return await self._read(after, count, after_event, besides, is_replica=True)

    async def snapshot(self) -> Snapshot:
        """Return the fleet as a replica reads it."""
        return await FleetReader(self.page).read()

    async def sfus(self) -> list[SfuStatus]:
        """Return every SFU, living and lost, by region and address."""
        page = await self._read("", _PAGE)
        sfus = [*page.sfus()]
        while page.cursor:
            page = await self._read(page.cursor, _PAGE)
            sfus += page.sfus()
        return in_order(sfus)

    async def describe(self, address: str) -> SfuStatus:
        """Return one SFU. Raises `UnknownSfu`."""
        for sfu in (await self._read("", 0, besides=[address])).sfus():
            return sfu
        raise UnknownSfu(f"no SFU is known as {address}")

    async def _read(
        self,
        after: str,
        count: int,
        after_event: str = "",
        besides: Sequence[str] = (),
        *,
        is_replica: bool = False,
    ) -> FleetPage:
        reply = await self._commands.run(
            self._scripts.read_fleet, int(is_replica), after, count, after_event, *besides
        )
        epoch, began_at, is_held, per_channel, at_ms, cursor, event_id, has_more, texts, absent = reply
        return FleetPage(
            epoch,
            began_at,
            bool(is_held),
            float(per_channel),
            int(at_ms),
            cursor,
            event_id,
            bool(has_more),
            [json.loads(text) for text in texts],
            absent,
        )

    async def began_at(self) -> str:
        """Return when the registry's data began, in ms as text; empty while there is none."""
        return await self._commands.fleet_field("began_at") or ""

    def of_static(self, reports: Sequence[SfuReport]) -> Snapshot:
        """Return a snapshot of static SFUs before Redis has been read. The SFUs count as idle."""
        nodes = (
            SfuStatus(
                address=report.address,
                region=report.region,
                state="selectable",
                breaker="closed",
                generation=0,
                heartbeat_age_ms=0,
                sealed_key=self._sealer.seal(report.address, report.key),
                public_url=report.public_url,
                max_sessions=report.max_sessions,
            )
            for report in reports
        )
        return Snapshot(tuple(nodes), sessions_per_channel=self._commands.policy.sessions_per_channel)

    async def note_setup(self, address: str, generation: int, problems: Sequence[str]) -> bool:
        """Keep what is wrong with the set-up of an SFU. Returns whether that registration still lasts."""
        noted = await self._commands.run(self._scripts.note_setup, address, generation, " ".join(problems))
        return bool(noted)

    async def explain(self, request: PlacementRequest) -> Explained:
        """Return where a call would be placed, and of every candidate the reason it would lose.

        A dry run: nothing is reserved.
        """
        winner, reason, group, _, placement, _ = await self._commands.run(
            self._scripts.explain,
            request.call.tenant,
            utf8(request.call.issuer),
            *request.where,
            self._commands.draw(),
            request.call.channel_key_fingerprint,
        )
        return explain(
            await self.sfus(),
            request,
            Decision(winner, reason, int(group), placement),
            strategy=self._commands.policy.strategy,
            choices=self._commands.policy.choices,
        )


def _known(address: str, reply: Sequence[Any]) -> None:
    if reply[0] == "unknown":
        raise UnknownSfu(f"no SFU is known as {address}")
    if reply[0] == "down":
        raise UnknownSfu(
            f"{address} is not registered now: its drain and its failures ended with its registration"
        )
