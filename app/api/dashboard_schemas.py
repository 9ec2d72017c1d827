"""The documents that the dashboard's page reads. They change with the page, so docs/api.md does not describe them."""

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from app.api.schemas import Document, Moves
from app.dashboard.counters import CREATED, ChannelCounter
from app.registry.capacity import Limits
from app.registry.sfus import SfuStatus
from app.settings.model import Settings


class PageDocument(Document):
    """A document of the page. Its members are in camel case."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True)


class PageSfu(PageDocument):
    """One SFU, living or lost. Times in ms, shares from 0 to 1."""

    address: str
    region: str
    status: str
    state: str
    reason: str
    load: float
    reserved_load: float
    """The part of `load` that reserved sessions make."""
    terms: tuple[float, float, float]
    """The parts of `load` by sessions, CPU and memory."""
    channels: int
    sessions: int
    max_sessions: int
    reserved: float
    headroom: int
    cpu: float
    memory: float
    heartbeat_age_ms: int
    failures: int
    ejections: int
    ejected_for_ms: int
    errors: int
    last_error: str
    last_error_ago_ms: int
    shared_address: bool
    warnings: list[str]
    drain_until: int
    moves: Moves | None
    down_at: int
    registered_at: int
    public_url: str

    @classmethod
    def of(cls, sfu: SfuStatus, limits: Limits) -> "PageSfu":
        """Return an SFU of the registry as the page shows it."""
        claimed = sfu.sessions + sfu.reserved
        reserved_load = sfu.sessions_term * sfu.reserved / claimed if claimed else 0.0
        return cls(
            address=sfu.address,
            region=sfu.region,
            status=sfu.status,
            state=sfu.state,
            reason=sfu.reason,
            load=round(sfu.load, 4),
            reserved_load=round(reserved_load, 4),
            terms=(round(sfu.sessions_term, 4), round(sfu.cpu_term, 4), round(sfu.memory_term, 4)),
            channels=sfu.channels,
            sessions=sfu.sessions,
            max_sessions=sfu.max_sessions,
            reserved=round(sfu.reserved, 1),
            headroom=round(limits.headroom(sfu)),
            cpu=round(sfu.cpu, 3),
            memory=round(sfu.memory, 3),
            heartbeat_age_ms=sfu.heartbeat_age_ms,
            failures=sfu.failures,
            ejections=sfu.ejections,
            ejected_for_ms=sfu.ejected_for_ms,
            errors=sfu.errors,
            last_error=sfu.last_error,
            last_error_ago_ms=max(0, sfu.at - sfu.last_error_at),
            shared_address=sfu.is_shared,
            warnings=sfu.setup.split(),
            drain_until=sfu.drain_until,
            moves=Moves.of(sfu),
            down_at=sfu.down_at,
            registered_at=sfu.registered_at,
            public_url=sfu.public_url,
        )


class PageLimits(PageDocument):
    """The settings that the page draws as limits."""

    max_load: float
    max_cpu: float
    max_memory: float
    failure_threshold: int
    ping_ms: int
    unhealthy_ms: int
    lost_ms: int

    @classmethod
    def from_settings(cls, settings: Settings) -> "PageLimits":
        """Return the limits that `settings` describe."""
        return cls(
            max_load=settings.overload.max_load,
            max_cpu=settings.overload.max_cpu,
            max_memory=settings.overload.max_memory,
            failure_threshold=settings.breaker.failure_threshold,
            ping_ms=settings.next_ping_ms,
            unhealthy_ms=round(settings.health.unhealthy_threshold * 1000),
            lost_ms=settings.health.lost_ttl_s * 1000,
        )


class PageTraffic(PageDocument):
    """Channel requests of this replica."""

    channels_last_minute: int
    channels_by_minute: list[int]
    refusals_last_minute: int
    refusals_last_hour: dict[str, int]
    """By code, the most frequent first."""

    @classmethod
    def of(cls, counter: ChannelCounter) -> "PageTraffic":
        """Return what `counter` has counted."""
        minute, hour = counter.last_minute(), counter.last_hour()
        return cls(
            channels_last_minute=minute[CREATED],
            channels_by_minute=counter.created_by_minute(),
            refusals_last_minute=minute.total() - minute[CREATED],
            refusals_last_hour={code: count for code, count in hour.most_common() if code != CREATED},
        )


class PageData(PageDocument):
    """All that the page shows, without `sfus`, the list that is rendered once for all viewers."""

    version: str
    at: int
    mode: str
    snapshot_size: int
    fleet_age_ms: int | None
    admin: bool
    registration: bool
    rescue: bool
    limits: PageLimits
    traffic: PageTraffic


class PageHistory(PageDocument):
    """One SFU's last hour, oldest first, a value per step; `null` where it is unknown."""

    address: str
    step_ms: int
    load: tuple[float | None, ...]
    sessions: tuple[float | None, ...]
    channels: tuple[float | None, ...]
