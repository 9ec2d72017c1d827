"""Reads snapshots of the living fleet (`app.registry.snapshot`)."""

from collections.abc import Sequence

from app.crypto.sealing import Sealer
from app.registry.commands import RegistryCommands
from app.registry.sfus import SfuReport
from app.registry.snapshot import Snapshot, SnapshotNode, SnapshotPage, SnapshotReader


class Snapshots:
    """The living fleet, page by page or whole."""

    def __init__(self, commands: RegistryCommands, sealer: Sealer) -> None:
        self._commands = commands
        self._scripts = commands.scripts
        self._sealer = sealer

    async def read(self) -> Snapshot:
        """Return the living fleet, as a replica keeps it for the time when Redis is away."""
        return await SnapshotReader(self.page).read()

    async def page(self, after: str, count: int, after_event: str) -> SnapshotPage:
        """Return up to `count` SFUs after an address, and those that transitions after `after_event` name."""
        reply = await self._commands.run(self._scripts.snapshot, after, count, after_event)
        epoch, began_at, is_held, per_channel, at_ms, cursor, event_id, has_more, rows, absent = reply
        return SnapshotPage(
            epoch,
            began_at,
            bool(is_held),
            float(per_channel),
            int(at_ms),
            cursor,
            event_id,
            bool(has_more),
            rows,
            absent,
        )

    async def began_at(self) -> str:
        """Return when the registry's data began, in ms as text; empty while there is none."""
        return await self._commands.fleet_field("began_at") or ""

    def of_static(self, reports: Sequence[SfuReport]) -> Snapshot:
        """Return a snapshot of static SFUs before Redis has been read. The SFUs count as idle."""
        return Snapshot(
            tuple(
                SnapshotNode(
                    address=report.address,
                    region=report.region,
                    sealed_key=self._sealer.seal(report.address, report.key),
                    public_url=report.public_url,
                    load=0.0,
                    sessions=0.0,
                    max_sessions=report.max_sessions,
                )
                for report in reports
            ),
            self._commands.policy.sessions_per_channel,
        )
