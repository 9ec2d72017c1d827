"""What Redis says beside the SFUs: whether a sweeper works, what is held back, what has failed."""

from dataclasses import dataclass
from typing import Final

from app.registry.examination import Patient
from app.registry.scripts import registry_errors
from app.registry.stream_ids import BEFORE_ALL, parse_stream_id

_UNREAD_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Signs:
    """Vital signs, read at one moment. Times in ms of Redis' clock."""

    at: int
    is_swept: bool
    """Whether a sweeper holds the lease, which it renews four times a second."""
    unpublished_since: int = 0
    """When the oldest event that is not published yet was written; 0: all are published."""
    expiry_suspended_until: int = 0
    """Until when nothing expires, because most of the fleet is silent; 0: never was."""
    is_read: bool = True
    """Whether a replica has read the fleet within the last minute."""
    rescue_failed: int = 0
    """Calls whose Odoo gave no answer in time, or refused, since the registry began."""
    rescue_failed_at: int = 0


async def read_signs(patient: Patient) -> Signs:
    """Read them. Raises `RegistryUnavailable`."""
    keys = patient.registry.keys
    async with registry_errors("signs", patient.settings.redis.timeout_ms / 1000):
        seconds, microseconds = await patient.ask("TIME")
        swept, suspended = [
            await patient.ask("GET", name) for name in (keys.sweeper, keys.expiry_suspended_until)
        ]
        cursor, read_at, failed, failed_at = await patient.ask(
            "HMGET", keys.fleet, "outbox_cursor", "read_at", "rescue_failed", "rescue_failed_at"
        )
        waiting = await patient.ask("XRANGE", keys.events, f"({cursor or BEFORE_ALL}", "+", "COUNT", 1)
    at = int(seconds) * 1000 + int(microseconds) // 1000
    return Signs(
        at=at,
        is_swept=bool(swept),
        unpublished_since=parse_stream_id(waiting[0][0])[0] if waiting else 0,
        expiry_suspended_until=int(float(suspended or 0)),
        is_read=at - int(float(read_at or 0)) < _UNREAD_MS,
        rescue_failed=int(failed or 0),
        rescue_failed_at=int(float(failed_at or 0)),
    )
