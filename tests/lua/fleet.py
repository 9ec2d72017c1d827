"""A registry whose clock and dice are in the test's hands, and short words for what happens to a fleet."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis

from app.crypto.sealing import Sealer
from app.crypto.tokens import Key
from app.events.event import read_event
from app.registry.keys import Keys
from app.registry.placements import (
    Busy,
    CallId,
    Confirmed,
    ConfirmedPlacement,
    ForwardOutcome,
    Outcome,
    Placement,
    PlacementRequest,
)
from app.registry.policy import Policy
from app.registry.registry import Registry
from app.registry.sfus import HeartbeatResult, SfuReport
from app.settings.model import Settings
from tests.support.calls import call_id, placed_at

A, B, C, D, E, F = (f"http://{name}.test:8070" for name in "abcdef")

KEY: Final = Key(b"the secret that an SFU shares with nobody")
OTHER_KEY: Final = Key(b"the secret of quite another SFU")
SEALING: Final = b"sealing-key-0001"


class Fleet:
    """The SFUs of one namespace, their issuers and their sweeper."""

    def __init__(
        self, client: Redis, *, namespace: str = "sfu", sealing: Sequence[bytes] = (SEALING,), **policy: Any
    ) -> None:
        self.client = client
        self.keys = Keys(namespace)
        self.policy = dataclasses.replace(Policy.from_settings(Settings()), **policy)
        self.now_ms = 1_800_000_000_000
        self.draw = 0.0
        self.requests = 0
        self.finished: Counter[str] = Counter()
        self.registry = Registry(
            client,
            self.keys,
            self.policy,
            Sealer(sealing),
            timeout_s=10,
            clock=lambda: self.now_ms,
            draw=lambda: self.draw,
        )

    def wait(self, ms: int) -> None:
        """Let time pass."""
        self.now_ms += ms

    async def beat(self, address: str = A, **figures: Any) -> HeartbeatResult:
        """One heartbeat, by default of an idle SFU in `eu`."""
        report: dict[str, Any] = {"address": address, "region": "eu", "key": KEY} | figures
        return await self.registry.registrations.heartbeat(SfuReport(**report))

    async def ask(self, issuer: str = "issuer", **request: Any) -> Placement | Busy:
        """One request for a channel, by default of an id of its own per issuer until its final report."""
        call = _call(issuer, request)
        return await self.registry.select(
            PlacementRequest(**{"id": self.request_of(issuer), "call": call} | request)
        )

    def request_of(self, issuer: str) -> str:
        """The id of an issuer's request that is under way."""
        return f"request {self.finished[issuer] + 1} of {issuer}"

    async def select(self, issuer: str = "issuer", **request: Any) -> Placement:
        """As `ask`, when an SFU is the only answer that will do."""
        answer = await self.ask(issuer, **request)
        assert isinstance(answer, Placement), answer
        return answer

    async def report(
        self, result: Outcome, address: str = A, issuer: str = "issuer", **report: Any
    ) -> Confirmed:
        """How the request that `ask` sends by default ended."""
        request = self.request_of(issuer)
        self.finished[issuer] += report.get("is_final", True) and report.get("id", request) == request
        call = _call(issuer, report)
        placement = placed_at(address, **_taken(report, "generation", "caller"))
        named = {"id": request, "uuid": f"channel of {issuer}"} | report
        return await self.registry.record_outcome(
            ForwardOutcome(call=call, placement=placement, result=result, **named)
        )

    async def place(self, issuer: str = "issuer", **request: Any) -> Placement:
        """Select and create."""
        placement = await self.select(
            issuer, **{name: value for name, value in request.items() if name != "uuid"}
        )
        names = ("id", "tenant", "attempt", "channel_key_fingerprint", "uuid")
        known = {name: request[name] for name in names if name in request}
        known |= {"generation": placement.generation, "caller": placement.caller}
        await self.report(
            "created",
            placement.address,
            issuer,
            is_limited=request.get("max_placements") is not None,
            **known,
        )
        return placement

    async def fail(self, address: str = A, outcome: Outcome = "failed", *, times: int = 1) -> None:
        """Failures of requests that hold no placement."""
        for _ in range(times):
            self.requests += 1
            await self.report(outcome, address, issuer="nobody", id=f"failing request {self.requests}")

    async def half_open(self, address: str = A) -> None:
        """Eject an SFU, wait, and let a probe succeed."""
        await self.beat(address)
        await self.fail(address, times=self.policy.failure_threshold)
        self.wait(self.policy.open_ms - 1)
        await self.beat(address)
        assert await self.registry.sweeps.probe(address, answered=True) == "half-open"

    async def confirm(
        self, address: str = A, issuer: str = "issuer", age_ms: int = 0, **confirmation: Any
    ) -> Confirmed:
        """Confirm a channel that was made without the registry."""
        call = _call(issuer, confirmation)
        named = {"id": f"offline request of {issuer}", "uuid": f"channel of {issuer}"} | confirmation
        [confirmed] = await self.registry.confirm(
            ConfirmedPlacement(call=call, address=address, confirmed_at=self.now_ms - age_ms, **named)
        )
        return confirmed

    async def owner_of(self, uuid: str) -> str | None:
        """The address of the SFU that has a channel, while it is remembered."""
        owner = await self.registry.channel_owner(uuid)
        return owner.address if owner else None

    async def reserved(self, address: str = A) -> float:
        """Sessions that are promised to an SFU and not reported yet."""
        return (await self.registry.fleet.describe(address)).reserved

    async def state(self, address: str = A) -> str:
        """`selectable`, or why an SFU takes no new channel."""
        return (await self.registry.fleet.describe(address)).state

    async def listed(self, region: str | None = None) -> set[str]:
        """What the load index of a region, or of the whole fleet, holds."""
        return {str(address) for address in await self.client.zrange(self.keys.load(region), 0, -1)}

    async def events(self, address: str = A) -> list[str]:
        """What was said of an SFU, as `type reason`."""
        entries = [read_event(*entry) for entry in await self.registry.outbox.events_after("0-0", 1_000)]
        return [f"{event['type']} {event['reason']}" for event in entries if event["address"] == address]

    async def dump(self, pattern: str = "*") -> dict[str, Any]:
        """Return every key of the engine, with its value as Redis would save it."""
        return {str(name): await self.client.dump(name) for name in await self.client.keys(pattern)}


def _call(issuer: str, words: dict[str, Any]) -> CallId:
    """Return the issuer's call, with what `words` say of it; these words are taken out."""
    return call_id(issuer, **_taken(words, "tenant", "channel_key_fingerprint"))


def _taken(words: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: words.pop(name) for name in names if name in words}
