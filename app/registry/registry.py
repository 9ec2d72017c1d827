"""The registry of SFUs and placements: one typed method per Lua script.

Reply codes become values or exceptions here and nowhere else. Every method may raise `RegistryUnavailable`.
"""

import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal, Self, cast, get_args

from app.crypto.sealing import Sealer, UnsealError
from app.crypto.tokens import Key
from app.errors import (
    AddressLeased,
    NoSfuAvailable,
    Overloaded,
    RateLimited,
    TenantLimitReached,
    UnknownSfu,
)
from app.registry.explain import Decision, Explained, explain
from app.registry.keys import NEWEST_SCHEMA, OLDEST_SCHEMA, SCHEMA, Keys
from app.registry.losses import Cursor, Loss, LostCall, RescueResult, Suspect
from app.registry.placements import (
    Busy,
    ChannelOwner,
    Confirmed,
    ConfirmedPlacement,
    ForwardOutcome,
    Placement,
    PlacementRequest,
)
from app.registry.policy import Policy
from app.registry.schema_version import SchemaRefused
from app.registry.scripts import Argument, RedisClient, Script, ScriptRunner, registry_errors
from app.registry.sfus import HeartbeatResult, SfuReport, SfuStatus, Sweep, in_order
from app.registry.shipped_scripts import shipped_scripts
from app.registry.snapshot import Snapshot, SnapshotNode, SnapshotPage, SnapshotReader
from app.settings.model import Settings

_PAGE: Final = 50
_BATCH: Final = 25
_PATIENCE_S: Final = 3.0
_STALE_PAGES: Final = 200
_ERROR_LENGTH: Final = 200


class Registry:
    """All that replicas and workers share."""

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
        self._client = client
        self.keys = keys
        self._policy = policy
        self._scripts = shipped_scripts(policy)
        self._sealer = sealer
        self._runner = ScriptRunner(client, keys.prefix, timeout_s)
        self._timeout_s = timeout_s
        self._clock = clock
        self._draw = draw

    @classmethod
    def from_settings(cls, client: RedisClient, settings: Settings) -> Self:
        """Build the registry that `settings` describe."""
        keys = Keys(settings.redis.namespace)
        return cls(
            client,
            keys,
            Policy.from_settings(settings),
            Sealer.from_keys(settings.sealing.keys, settings.key),
            timeout_s=settings.redis.timeout_ms / 1000,
        )

    def patient(self) -> Self:
        """Return the same registry for work that nobody waits for: its calls may take seconds.

        Finding the new primary after a failover takes a while, when the first Sentinel asked is gone too.
        """
        return type(self)(
            self._client,
            self.keys,
            self._policy,
            self._sealer,
            timeout_s=_PATIENCE_S,
            clock=self._clock,
            draw=self._draw,
        )

    @property
    def answered_at(self) -> float:
        """When Redis last answered a script, in seconds of the monotonic clock."""
        return self._runner.answered_at

    # Heartbeats

    async def heartbeat(self, report: SfuReport) -> HeartbeatResult:
        """Register an SFU or renew its life.

        Raises:
            AddressLeased: a living SFU holds the address with another key.
            RateLimited: the address sends too many.
        """
        sealed = self._sealer.seal(report.address, report.key)
        fingerprint = self._sealer.fingerprint(report.address, report.key)

        async def send(former_fingerprint: str) -> Any:
            return await self._run_batched(
                self._scripts.heartbeat,
                report.address,
                report.region,
                report.channels,
                report.sessions,
                report.max_sessions,
                report.cpu,
                report.memory,
                report.public_url,
                int(report.is_draining),
                int(report.is_fresh),
                sealed,
                fingerprint,
                former_fingerprint,
                report.instance,
            )

        code, *rest = await self._with_lease(report.address, report.key, send)
        if code == "limited":
            raise RateLimited(f"this address may send again in {rest[0]} ms")
        is_draining, generation, is_new = rest
        return HeartbeatResult(bool(is_draining), int(generation), bool(is_new))

    async def sign_off(self, address: str, key: Key) -> bool:
        """Remove an SFU at once; whether there was one. Raises `AddressLeased`."""
        fingerprint = self._sealer.fingerprint(address, key)

        async def send(former_fingerprint: str) -> Any:
            return await self._run(self._scripts.sign_off, address, fingerprint, former_fingerprint)

        _, removed = await self._with_lease(address, key, send)
        return bool(removed)

    async def _with_lease(self, address: str, key: Key, send: Callable[[str], Awaitable[Any]]) -> Any:
        """`send` once, and again with the holder's fingerprint where the holder has the very same key.

        Fingerprints change with the sealing key; the keys themselves are compared then.
        """
        reply = await send("")
        if reply[0] == "leased" and self._holds(address, reply[1], key):
            reply = await send(await self._fingerprint_of(address))
        if reply[0] == "leased":
            raise AddressLeased("a living SFU has registered this address with another key")
        return reply

    def _holds(self, address: str, sealed: str, key: Key) -> bool:
        try:
            return self._sealer.open(address, sealed) == key
        except UnsealError:
            return False

    async def _fingerprint_of(self, address: str) -> str:
        return cast("str | None", await self._read("hget", self.keys.node(address), "fingerprint")) or ""

    # Channels

    async def select(self, request: PlacementRequest) -> Placement | Busy:
        """Pick, reserve and lock an SFU for one attempt of a channel request, in one step.

        Raises:
            NoSfuAvailable: nowhere this request may go is an SFU that it has not tried; with the registry's epoch.
            Overloaded: there are some, all of them out by load; with the registry's epoch.
            TenantLimitReached: the tenant has all the placements it may have.
        """
        allow, limit = request.allow, request.max_placements
        arguments = (
            request.id,
            request.attempt,
            request.tenant,
            _utf8(request.issuer),
            "|".join(map(",".join, request.groups)),
            " ".join(request.exclude),
            "*" if allow is None else ",".join(allow),
            request.lock_ms,
            self._draw(),
            "" if limit is None else limit,
            request.caller,
            request.channel_key_fingerprint,
        )
        for _ in range(_STALE_PAGES):
            reply = await self._run_batched(self._scripts.select, *arguments)
            if reply[0] != "again":
                return _placed(reply)
        raise NoSfuAvailable("the registry is full of expired SFUs; the sweeper may not be running")

    def open_key(self, placement: Placement) -> Key:
        """Return the key of the placed SFU. Raises `UnsealError`."""
        return self._sealer.open(placement.address, placement.sealed_key)

    async def record_outcome(self, outcome: ForwardOutcome) -> Confirmed:
        """Record how forwarding one attempt to an SFU ended; a created channel is confirmed by it."""
        code, won, tenant, address = await self._run_batched(
            self._scripts.record_outcome,
            outcome.id,
            outcome.attempt,
            outcome.tenant,
            _utf8(outcome.issuer),
            outcome.channel_key_fingerprint,
            outcome.address,
            outcome.generation,
            outcome.result,
            int(outcome.is_final),
            _utf8(outcome.uuid),
            _printable(outcome.error),
            outcome.caller,
            int(outcome.is_limited),
            self._draw(),
        )
        is_repeated = code == "repeated"
        return Confirmed(outcome.result == "created" and bool(won), _owner(tenant, address), is_repeated)

    async def confirm(self, *calls: ConfirmedPlacement, now_ms: int) -> list[Confirmed]:
        """Confirm channels that were made without the registry, in batches; the later confirmation wins.

        `now_ms` is of the clock by which the calls were confirmed: only their ages count. A channel on an SFU that
        has gone or has registered anew since is skipped.
        """
        confirmed: list[Confirmed] = []
        for start in range(0, len(calls), _BATCH):
            batch = calls[start : start + _BATCH]
            arguments = [part for call in batch for part in _confirmation(call, now_ms - call.confirmed_at)]
            replies = await self._run(self._scripts.confirm, *arguments)
            confirmed += [Confirmed(bool(won), _owner(tenant, address)) for won, tenant, address in replies]
        return confirmed

    async def last_event_id(self) -> str:
        """Return the stream id of the newest event, `0-0` when there is none."""
        newest = await self._read("xrevrange", self.keys.events, count=1)
        return str(newest[0][0]) if newest else "0-0"

    async def channel_owner(self, uuid: str) -> ChannelOwner | None:
        """Return who has a channel, while it is remembered."""
        text = await self._read("get", self.keys.channel(uuid))
        return ChannelOwner(*text.split(" ", 2)) if text else None

    async def key_of(self, address: str) -> Key | None:
        """Return the key of a living SFU, or `None`. Raises `UnsealError`."""
        sealed = await self._read("hget", self.keys.node(address), "key")
        return self._sealer.open(address, sealed) if sealed else None

    # Operators

    async def drain(self, address: str, *, deadline_ms: int = 0, move: bool = False) -> None:
        """Let an SFU take no new channels; after `deadline_ms` (0: never) it does not keep its calls either.

        With `move`, the sweeper asks Odoo to move the calls: `app.rescue`.

        Raises:
            UnknownSfu: not registered now; a drain belongs to a registration and ends with it.
        """
        _known(address, await self._run(self._scripts.set_drain, address, deadline_ms, int(move)))

    async def resume(self, address: str) -> None:
        """Take back a drain. Raises `UnknownSfu`."""
        _known(address, await self._run(self._scripts.set_drain, address, "", 0))

    async def forget(self, address: str) -> None:
        """Remove every trace of an SFU. Raises `UnknownSfu`."""
        _known(address, await self._run(self._scripts.forget, address))

    async def fleet(self) -> list[SfuStatus]:
        """Return every SFU, living and lost, by region and address. For people, not for a request path."""
        return in_order([status async for page in self.fleet_pages() for status in page])

    async def fleet_pages(self) -> AsyncGenerator[list[SfuStatus]]:
        """Yield every SFU, living and lost, once and in no order: a large fleet need not be in memory whole."""
        async for page in self._addresses():
            texts = await self._run(self._scripts.describe, *page)
            yield [SfuStatus(**json.loads(text)) for text in texts]

    async def describe(self, address: str) -> SfuStatus:
        """Return one SFU. Raises `UnknownSfu`."""
        texts = await self._run(self._scripts.describe, address)
        if not texts:
            raise UnknownSfu(f"no SFU is known as {address}")
        return SfuStatus(**json.loads(texts[0]))

    async def _addresses(self) -> AsyncIterator[Sequence[str]]:
        after = "-"
        while page := await self._read("zrangebylex", self.keys.sfus, after, "+", start=0, num=_PAGE):
            yield page
            after = f"({page[-1]}"

    async def snapshot(self) -> Snapshot:
        """Return the living fleet, as a replica keeps it for the time when Redis is away."""
        return await SnapshotReader(self.snapshot_page).read()

    async def snapshot_page(self, after: str, count: int, after_event: str) -> SnapshotPage:
        """Return up to `count` SFUs after an address, and those that transitions after `after_event` name."""
        reply = await self._run(self._scripts.snapshot, after, count, after_event)
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
        return cast("str | None", await self._read("hget", self.keys.fleet, "began_at")) or ""

    def static_snapshot(self, reports: Sequence[SfuReport]) -> Snapshot:
        """Return a snapshot of SFUs that the registry has not been asked about, idle."""
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
            self._policy.sessions_per_channel,
        )

    async def recent_confirmations(self, after: str, count: int) -> tuple[str, list[ConfirmedPlacement]]:
        """Return up to `count` placements confirmed after a position, oldest first, and the position of the last.

        An empty `after` gives the newest `count`.
        """
        if after:
            entries = await self._read("xrange", self.keys.confirmations, min=f"({after}", count=count)
        else:
            entries = (await self._read("xrevrange", self.keys.confirmations, count=count))[::-1]
        position = str(entries[-1][0]) if entries else after or "0-0"
        return position, [_confirmed(fields) for _, fields in entries]

    async def explain(self, request: PlacementRequest) -> Explained:
        """Return where a call would be placed, and of every candidate the reason it would lose.

        A dry run: nothing is reserved, and nobody waits for it.
        """
        winner, reason, group, _, placement, _ = await self._run(
            self._scripts.explain,
            request.tenant,
            _utf8(request.issuer),
            "|".join(map(",".join, request.groups)),
            " ".join(request.exclude),
            "*" if request.allow is None else ",".join(request.allow),
            self._draw(),
            request.channel_key_fingerprint,
        )
        return explain(
            await self.fleet(),
            request,
            Decision(winner, reason, int(group), placement),
            strategy=self._policy.strategy,
            choices=self._policy.choices,
        )

    async def has_region(self, region: str) -> bool:
        """Whether a living SFU that does not drain is in `region`."""
        keys = self.keys
        return bool(
            await self._read("exists", keys.load(region), keys.ejected(region), keys.overloaded(region))
        )

    async def ping(self) -> None:
        """Return when Redis answers."""
        await self._read("ping")

    async def claim_schema(
        self, schema: int = SCHEMA, *, oldest: int = OLDEST_SCHEMA, newest: int = NEWEST_SCHEMA
    ) -> None:
        """Say which layout of the data this process writes, and which it can work with.

        Raises:
            SchemaRefused: the data that is there has another one.
        """
        code, found = await self._runner.run(self._scripts.claim_schema, schema, oldest, newest)
        if code == "newer":
            raise SchemaRefused(
                f"the data in Redis (namespace {self.keys.namespace}) has schema {found}, this version knows "
                f"up to {newest}: run the version that wrote it, or take a redis.namespace of its own"
            )
        if code == "older":
            raise SchemaRefused(
                f"the data in Redis (namespace {self.keys.namespace}) has schema {found}, this version knows "
                f"{oldest} and newer: upgrade by the version between, or take a redis.namespace of its own"
            )

    # Sweeper

    async def acquire_lease(self, name: str, lease_ms: int) -> bool:
        """Take or renew the lease of the active sweeper; whether `name` has it."""
        return bool(await self._runner.run(self._scripts.acquire_lease, name, lease_ms))

    async def expire(self) -> Sweep:
        """End a few registrations whose health deadline has passed, and forget SFUs that were lost long ago."""
        code, *rest = await self._run(self._scripts.expire, _BATCH)
        if code == "suspended":
            return Sweep(0, has_more=False, expiry_suspended_until=int(rest[0]))
        return Sweep(int(rest[0]), bool(rest[1]))

    async def reap(self) -> Sweep:
        """End a few attempts that never reported."""
        _, count, has_more = await self._run(self._scripts.reap, _BATCH)
        return Sweep(int(count), bool(has_more))

    async def finish_drains(self) -> Sweep:
        """Announce a few drain deadlines that have passed."""
        _, count, has_more = await self._run(self._scripts.finish_drains, _BATCH)
        return Sweep(int(count), bool(has_more))

    async def claim_probes(self, lease_ms: int) -> list[str]:
        """Bring back SFUs whose ejection is over; return those to probe, each handed out once per `lease_ms`.

        An SFU is probed shortly before its ejection ends. Without a probe it returns all the same.
        """
        return cast("list[str]", await self._run(self._scripts.return_ejected, _BATCH, lease_ms))

    async def probe(self, address: str, *, answered: bool) -> str:
        """Record the outcome of a probe; return the SFU's state, or `gone`."""
        reply = await self._run(self._scripts.record_probe, address, int(answered), self._draw())
        return str(reply[1])

    async def outbox_cursor(self) -> str:
        """Return the stream id of the last published event, `0-0` when none was."""
        return cast("str | None", await self._read("hget", self.keys.fleet, "outbox_cursor")) or "0-0"

    async def events_after(self, stream_id: str, count: int) -> list[tuple[str, dict[str, str]]]:
        """Return up to `count` events of the outbox after `stream_id`, oldest first."""
        entries = await self._read("xrange", self.keys.events, min=f"({stream_id}", count=count)
        return [(entry_id, fields) for entry_id, fields in entries]

    async def newest_events(self, count: int) -> list[tuple[str, dict[str, str]]]:
        """Return the newest `count` events of the outbox, oldest first."""
        entries = await self._read("xrevrange", self.keys.events, count=count)
        return [(entry_id, fields) for entry_id, fields in reversed(entries)]

    async def publish(self, payload: bytes) -> None:
        """Publish one event to whoever listens now."""
        await self._read("publish", self.keys.channel_name, payload)

    async def commit_cursor(self, name: str, stream_id: str, cursor: Cursor = "outbox_cursor") -> bool:
        """Remember the last event that was dealt with if `name` still has the lease; whether it does."""
        return bool(await self._runner.run(self._scripts.commit_cursor, name, stream_id, cursor))

    # Rescue

    async def rescue_cursor(self) -> str | None:
        """Return the stream id up to which calls have been rescued or given up; `None` at the very first."""
        return cast("str | None", await self._read("hget", self.keys.fleet, "rescue_cursor"))

    async def find_suspects(self) -> list[Suspect]:
        """Return SFUs whose heartbeat is late or to which a forward failed; none while most of the fleet is so."""
        found = await self._run(self._scripts.find_suspects, _BATCH)
        return [
            Suspect(address, int(generation), int(reported_at)) for address, generation, reported_at in found
        ]

    async def end_unreachable(self, suspect: Suspect) -> Literal["ended", "alive", "mass"]:
        """End the registration of an SFU that does not answer, unless it has reported or most others are gone."""
        reply = await self._run(
            self._scripts.end_unreachable, suspect.address, suspect.generation, suspect.reported_at
        )
        return cast("Literal['ended', 'alive', 'mass']", reply)

    async def calls_of(self, address: str) -> list[str]:
        """Return the names of all calls of an SFU, `tenant:issuer`, the oldest confirmation first."""
        return cast("list[str]", await self._read("zrange", self.keys.calls(address), 0, -1))

    async def find_calls(
        self, loss: Loss, calls: Sequence[str], *, moving_ms: int = 0
    ) -> list[LostCall] | None:
        """Return which of `calls` the `loss` still concerns; `None` while most of the fleet seems to be gone.

        With `moving_ms` those calls are placed on other SFUs for so long, although theirs lives.
        """
        is_mass, *found = await self._run(
            self._scripts.find_calls,
            loss.address,
            loss.generation,
            loss.event_id,
            moving_ms,
            int(loss.may_be_mass),
            *map(_utf8, calls),
        )
        return None if is_mass else [LostCall(name, uuid) for name, uuid in found]

    async def settle_calls(self, loss: Loss, results: Mapping[str, RescueResult]) -> None:
        """Note what became of calls that the `loss` concerns; they are not found for it again."""
        pairs = [part for name, result in results.items() for part in (_utf8(name), result)]
        await self._run(
            self._scripts.settle_calls, loss.address, loss.generation, loss.event_id, int(loss.lives), *pairs
        )

    async def has_other_sfus(self) -> bool:
        """Whether an SFU can take calls at the moment, ejected ones included."""
        return bool(await self._read("exists", self.keys.load(), self.keys.ejected()))

    async def rescue_totals(self) -> dict[str, int]:
        """Return how many calls were rescued so far, by result, and under `ms` how long that took in sum."""
        names = (*get_args(RescueResult), "ms")
        values = await self._read("hmget", self.keys.fleet, [f"rescue_{name}" for name in names])
        return {name: int(value or 0) for name, value in zip(names, values, strict=True)}

    async def _run(self, script: Script, *arguments: Argument) -> Any:
        now = "" if self._clock is None else self._clock()
        return await self._runner.run(script, now, *arguments)

    async def _run_batched(self, script: Script, *arguments: Argument) -> Any:
        """As `_run`, for what requests ask many times a second."""
        now = "" if self._clock is None else self._clock()
        return await self._runner.run_batched(script, now, *arguments)

    async def _read(self, command: str, *arguments: Any, **options: Any) -> Any:
        async with registry_errors(command, self._timeout_s):
            return await getattr(self._client, command)(*arguments, **options)


def _placed(reply: Sequence[Any]) -> Placement | Busy:
    match reply:
        case ["placed", address, region, sealed, public_url, reason, locked, uuid, generation, caller, other]:
            return Placement(
                address,
                region,
                sealed,
                public_url,
                reason,
                bool(locked),
                uuid,
                generation=int(generation),
                caller=caller,
                has_other_key=bool(other),
            )
        case ["wait", wait_ms]:
            return Busy(int(float(wait_ms)))
        case ["overloaded", epoch]:
            raise Overloaded("every SFU this request may use is above a load threshold", epoch=epoch)
        case ["limit"]:
            raise TenantLimitReached("the tenant has all the placements it may have")
        case [_, epoch]:
            raise NoSfuAvailable("no healthy SFU is registered where this request may go", epoch=epoch)
        case _:
            raise AssertionError(f"select.lua replied {reply[0]}")


def _owner(tenant: str, address: str) -> ChannelOwner | None:
    return ChannelOwner(tenant, address) if address else None


def _confirmation(call: ConfirmedPlacement, age_ms: int) -> tuple[Argument, ...]:
    return (
        call.id,
        call.tenant,
        _utf8(call.issuer),
        call.channel_key_fingerprint,
        call.address,
        call.generation,
        _utf8(call.uuid),
        max(0, age_ms),
        call.caller,
        int(call.is_limited),
    )


def _confirmed(fields: Mapping[str, str]) -> ConfirmedPlacement:
    return ConfirmedPlacement(
        tenant=fields["tenant"],
        issuer=fields["issuer"],
        address=fields["address"],
        uuid=fields["uuid"],
        confirmed_at=int(fields["at"]),
        generation=int(fields["generation"]),
        caller=fields["caller"],
        channel_key_fingerprint=fields["fingerprint"],
        has_other_key=fields["other_key"] == "1",
        id=fields["id"],
        is_limited=fields["limited"] == "1",
    )


def _printable(error: str) -> str:
    """An SFU's own words, as a terminal, a page and a hash can show them."""
    text = error.encode(errors="replace").decode(errors="replace")
    return "".join(letter if letter.isprintable() else " " for letter in text)[:_ERROR_LENGTH].strip()


def _utf8(text: str) -> bytes:
    """What came from others, as Redis can take it: JSON can spell half a surrogate pair, UTF-8 cannot."""
    return text.encode(errors="replace")


def _known(address: str, reply: Sequence[Any]) -> None:
    if reply[0] == "unknown":
        raise UnknownSfu(f"no SFU is known as {address}")
    if reply[0] == "down":
        raise UnknownSfu(
            f"{address} is not registered now: a drain belongs to a registration and ends with it"
        )
