"""The registry of SFUs and placements: one typed method per Lua script.

Reply codes become values or exceptions here and nowhere else. Every method may raise `RegistryUnavailable`.
"""

import asyncio
import functools
import random
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

from app.crypto.sealing import Sealer
from app.crypto.tokens import Key
from app.errors import NoSfuAvailable
from app.registry.commands import RegistryCommands
from app.registry.fleet import Fleet
from app.registry.keys import NEWEST_SCHEMA, OLDEST_SCHEMA, SCHEMA, Keys
from app.registry.outbox import Outbox
from app.registry.placements import (
    Busy,
    ChannelOwner,
    Confirmed,
    ConfirmedPlacement,
    ForwardOutcome,
    Placement,
    PlacementRequest,
    confirmation_arguments,
    placement_of,
)
from app.registry.policy import Policy
from app.registry.registrations import Registrations
from app.registry.rescues import Rescues
from app.registry.schema_version import SchemaRefused
from app.registry.scripts import Argument, RedisClient, utf8
from app.registry.stream_ids import BEFORE_ALL
from app.registry.sweeps import Sweeps
from app.settings.model import Settings

_BATCH: Final = 25
_PATIENCE_S: Final = 3.0
_STALE_PAGES: Final = 200
_ERROR_LENGTH: Final = 200


class Registry:
    """What replicas and workers share: the placements, and the other parts under their own names."""

    def __init__(
        self,
        client: RedisClient,
        keys: Keys,
        policy: Policy,
        sealer: Sealer,
        *,
        timeout_s: float = 0.25,
        clock: Callable[[], int] | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """For tests: a `clock` in ms, without which scripts use Redis' own, and a `draw` from [0, 1)."""
        self._remake = functools.partial(type(self), client, keys, policy, sealer, clock=clock, draw=draw)
        commands = RegistryCommands(client, keys, policy, timeout_s=timeout_s, clock=clock, draw=draw)
        self.keys = keys
        self.registrations = Registrations(commands, sealer)
        self.fleet = Fleet(commands, sealer)
        self.outbox = Outbox(commands)
        self.sweeps = Sweeps(commands)
        self.rescues = Rescues(commands)
        self._commands = commands
        self._scripts = commands.scripts
        self._sealer = sealer

    @classmethod
    def from_settings(cls, client: RedisClient, settings: Settings) -> Self:
        """Build the registry that `settings` describe."""
        return cls(
            client,
            Keys(settings.redis.namespace),
            Policy.from_settings(settings),
            Sealer.from_keys(settings.sealing.keys, settings.key),
            timeout_s=settings.redis.timeout_ms / 1000,
        )

    def patient(self) -> "Registry":
        """Return the same registry for background work: its calls may take seconds.

        A client needs seconds to find the new primary after a failover, when its first Sentinel is gone too.
        """
        return self._remake(timeout_s=_PATIENCE_S)

    @property
    def answered_at(self) -> float:
        """When Redis last answered a script, in seconds of the monotonic clock."""
        return self._commands.runner.answered_at

    @property
    def slow_at(self) -> float:
        """When Redis last took long for a script, or too long, in seconds of the monotonic clock."""
        return self._commands.runner.slow_at

    async def select(self, request: PlacementRequest) -> Placement | Busy:
        """Pick, reserve and lock an SFU for one attempt of a channel request, in one step.

        Raises:
            NoSfuAvailable: no SFU is left that this request may use and has not tried; with the registry's epoch.
            Overloaded: every SFU that is left is above a load threshold; with the registry's epoch.
            TenantLimitReached: the tenant has all the placements it may have.
        """
        call = request.call
        arguments = (
            request.id,
            request.attempt,
            call.tenant,
            utf8(call.issuer),
            *request.where,
            request.lock_ms,
            self._commands.draw(),
            "" if request.max_placements is None else request.max_placements,
            request.caller,
            call.channel_key_fingerprint,
            request.preferred,
        )
        for _ in range(_STALE_PAGES):
            reply = await self._commands.run_batched(self._scripts.select, *arguments)
            if reply[0] != "again":
                return placement_of(reply)
        raise NoSfuAvailable("the registry is full of expired SFUs; the sweeper may not be running")

    def open_key(self, placement: Placement) -> Key:
        """Return the key of the placed SFU. Raises `UnsealError`."""
        return self._sealer.open(placement.address, placement.sealed_key)

    async def record_outcome(self, outcome: ForwardOutcome) -> Confirmed:
        """Record how forwarding one attempt to an SFU ended; a created channel is confirmed by it."""
        script, arguments = self._scripts.record_outcome, self._outcome_arguments(outcome)
        return _confirmed(outcome, await self._commands.run_batched(script, *arguments))

    def record_outcome_later(
        self, outcome: ForwardOutcome, then: Callable[[Confirmed | None], None]
    ) -> asyncio.Future[Any]:
        """Record an outcome whose caller has been answered, with the next pipeline; return what is then done.

        `then` gets what the registry made of it, or `None` when Redis may not have recorded it.
        """

        def done(reply: asyncio.Future[Any]) -> None:
            is_lost = reply.cancelled() or reply.exception() is not None
            then(None if is_lost else _confirmed(outcome, reply.result()))

        reply = self._commands.run_later(self._scripts.record_outcome, *self._outcome_arguments(outcome))
        reply.add_done_callback(done)
        return reply

    def _outcome_arguments(self, outcome: ForwardOutcome) -> tuple[Argument, ...]:
        call, placement = outcome.call, outcome.placement
        return (
            outcome.id,
            outcome.attempt,
            call.tenant,
            utf8(call.issuer),
            call.channel_key_fingerprint,
            placement.address,
            placement.generation,
            outcome.result,
            int(outcome.is_final),
            utf8(outcome.uuid),
            _printable(outcome.error),
            placement.caller,
            int(outcome.is_limited),
            self._commands.draw(),
        )

    async def confirm(self, *calls: ConfirmedPlacement) -> list[Confirmed]:
        """Confirm channels that were created without the registry, in batches; the later confirmation wins.

        A channel on an SFU that has gone or has registered anew since is skipped.
        """
        confirmed: list[Confirmed] = []
        for start in range(0, len(calls), _BATCH):
            batch = calls[start : start + _BATCH]
            arguments = [part for call in batch for part in confirmation_arguments(call)]
            replies = await self._commands.run(self._scripts.confirm, *arguments)
            confirmed += [Confirmed(bool(won), _owner(tenant, address)) for won, tenant, address in replies]
        return confirmed

    async def channel_owner(self, uuid: str) -> ChannelOwner | None:
        """Return the owner of a channel, or `None` when the registry does not know the channel (any more)."""
        text = await self._commands.runner.text_of(self.keys.channel(uuid))
        return ChannelOwner(*text.split(" ", 2)) if text else None

    async def key_of(self, address: str) -> Key | None:
        """Return the key of a living SFU, or `None`. Raises `UnsealError`."""
        sealed = await self._commands.send("hget", self.keys.node(address), "key")
        return self._sealer.open(address, sealed) if sealed else None

    async def recent_confirmations(self, after: str, count: int) -> tuple[str, list[str]]:
        """Return up to `count` confirmations after a position, oldest first, and the position of the last.

        An empty `after` gives the newest `count`. `confirmed_placement` reads an entry.
        """
        if after:
            entries = await self._commands.runner.entries_after(self.keys.confirmations, after, count)
        else:
            entries = (await self._commands.send("xrevrange", self.keys.confirmations, count=count))[::-1]
        position = str(entries[-1][0]) if entries else after or BEFORE_ALL
        return position, [fields["call"] for _, fields in entries]

    async def has_region(self, region: str) -> bool:
        """Whether a living SFU that does not drain is in `region`."""
        keys = self.keys
        return bool(
            await self._commands.send(
                "exists", keys.load(region), keys.ejected(region), keys.overloaded(region)
            )
        )

    async def drop_connections(self) -> None:
        """Let go of idle connections."""
        await self._commands.drop_connections()

    async def ping(self) -> None:
        """Return when Redis answers."""
        await self._commands.send("ping")

    async def claim_schema(
        self, schema: int = SCHEMA, *, oldest: int = OLDEST_SCHEMA, newest: int = NEWEST_SCHEMA
    ) -> None:
        """Say which layout of the data this process writes, and which layouts it can work with.

        Raises:
            SchemaRefused: the data in Redis has another layout.
        """
        code, found = await self._commands.runner.run(self._scripts.claim_schema, schema, oldest, newest)
        if code in ("newer", "older"):
            raise SchemaRefused.of(code, found, self.keys.namespace, oldest, newest)


def _confirmed(outcome: ForwardOutcome, reply: Sequence[Any]) -> Confirmed:
    code, won, tenant, address = reply
    return Confirmed(
        outcome.result == "created" and bool(won), _owner(tenant, address), is_repeated=code == "repeated"
    )


def _owner(tenant: str, address: str) -> ChannelOwner | None:
    return ChannelOwner(tenant, address) if address else None


def _printable(error: str) -> str:
    """Return an SFU's own error text, cut and made printable for terminals, pages and hashes."""
    if not error:
        return ""
    text = error.encode(errors="replace").decode(errors="replace")
    return "".join(letter if letter.isprintable() else " " for letter in text)[:_ERROR_LENGTH].strip()
