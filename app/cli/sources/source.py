"""Whom a command asks: a gateway over HTTP, or Redis itself. Both answer alike."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from app.cli.exits import CommandError, Exit
from app.cli.lean_imports import imports_without

if TYPE_CHECKING:
    from app.api.schemas import Diagnosis, Explanation, Sfu
    from app.events.event import Event
    from app.settings.model import Settings

_UNUSED: Final = ("opentelemetry", "rich", "pygments", "click")
"""What httpx, redis-py and structlog load where it is installed: half a second of each command."""


@dataclass(frozen=True, slots=True)
class PlacementQuery:
    """A channel that might be asked for."""

    region: str | None = None
    country: str | None = None
    issuer: str = ""
    tenant: str | None = None


class Backend(Protocol):
    """The fleet, as commands see and change it."""

    async def sfus(self) -> list[Sfu]:
        """Return every SFU, living and lost, by region and address."""

    async def diagnosis(self) -> Diagnosis:
        """Return what is wrong, the worst first."""

    async def explain(self, question: PlacementQuery) -> Explanation:
        """Return where a channel would be placed, and why."""

    async def drain(self, address: str, deadline_ms: int, *, move: bool) -> None:
        """Let an SFU take no new channels; after `deadline_ms` (0: never) it keeps no calls either.

        With `move`, Odoo is asked to move its calls.
        """

    async def resume(self, address: str) -> None:
        """Take back a drain."""

    async def reset(self, address: str) -> None:
        """End an SFU's ejection and forget its failures."""

    async def forget(self, address: str) -> None:
        """Remove every trace of an SFU."""

    def events(self, after: str | None, *, follow: bool) -> AsyncGenerator[Event]:
        """Yield transitions after the stream id `after` (`None`: from now on), oldest first.

        Without `follow` it ends with the newest one.
        """


def open_source(
    redis: str, gateway: str, admin_token: str, config: Path | None
) -> AbstractAsyncContextManager[Backend]:
    """Return the source that the options name; it is open inside `async with`.

    Raises:
        CommandError: both are named, or none is.
        SettingsError: Redis is to be asked, and a setting is wrong.
    """
    if redis and gateway:
        raise CommandError("give --redis or --gateway, not both", Exit.USAGE)
    if gateway:
        with imports_without(*_UNUSED):
            from app.cli.sources.gateway import gateway_source

        return gateway_source(gateway, admin_token)
    with imports_without(*_UNUSED):
        from app.cli.sources.redis import redis_source

    return redis_source(settings_for(redis, config))


def settings_for(redis: str, config: Path | None) -> Settings:
    """Return the settings, with the Redis that the option names. Raises as `open_source`."""
    from pydantic import SecretStr

    from app.settings.loader import load_settings
    from app.settings.redis_url import parse_redis_url

    settings = load_settings(config)
    if redis:
        try:
            parse_redis_url(redis)
        except ValueError as error:
            raise CommandError(f"--redis: {error}", Exit.USAGE) from None
        url = settings.redis.model_copy(update={"url": SecretStr(redis)})
        settings = settings.model_copy(update={"redis": url})
    if settings.redis.url is None:
        raise CommandError(
            "whom to ask? Give --gateway URL or --redis URL, or set SFU_GATEWAY_REDIS__URL", Exit.USAGE
        )
    return settings
