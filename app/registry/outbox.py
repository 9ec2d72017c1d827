"""The outbox: the stream of events that transitions write, and how far each reader of it has come."""

from app.registry.commands import RegistryCommands
from app.registry.losses import Cursor
from app.registry.stream_ids import BEFORE_ALL


class Outbox:
    """Reads and publishes the events of one namespace."""

    def __init__(self, commands: RegistryCommands) -> None:
        self._commands = commands
        self._scripts = commands.scripts
        self._keys = commands.keys

    async def cursor(self) -> str:
        """Return the stream id of the last published event, or `BEFORE_ALL`."""
        return await self._commands.fleet_field("outbox_cursor") or BEFORE_ALL

    async def events_after(self, stream_id: str, count: int) -> list[tuple[str, dict[str, str]]]:
        """Return up to `count` events of the outbox after `stream_id`, oldest first."""
        return await self._commands.runner.entries_after(self._keys.events, stream_id, count)

    async def newest_events(self, count: int) -> list[tuple[str, dict[str, str]]]:
        """Return the newest `count` events of the outbox, oldest first."""
        entries = await self._commands.send("xrevrange", self._keys.events, count=count)
        return [(entry_id, fields) for entry_id, fields in reversed(entries)]

    async def publish(self, payload: bytes) -> None:
        """Publish one event to the present subscribers."""
        await self._commands.send("publish", self._keys.channel_name, payload)

    async def commit_cursor(self, name: str, stream_id: str, cursor: Cursor = "outbox_cursor") -> bool:
        """Store the last event that a reader has processed. Returns False, and stores nothing, without the lease."""
        return bool(await self._commands.runner.run(self._scripts.commit_cursor, name, stream_id, cursor))

    async def last_event_id(self) -> str:
        """Return the stream id of the newest event, or `BEFORE_ALL`."""
        newest = await self._commands.send("xrevrange", self._keys.events, count=1)
        return str(newest[0][0]) if newest else BEFORE_ALL
