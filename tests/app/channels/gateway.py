"""Replicas on real SFUs that fail in real ways, and a registry whose clock stands still."""

import itertools
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from app.auth.tenants import Tenant, Tenants
from app.channels.fallback import SnapshotPlacer
from app.channels.placer import Placer
from app.channels.service import ChannelRequest, Channels, Placed
from app.crypto.tokens import Key
from app.regions.choice import RegionChooser
from app.regions.table import RegionTable
from app.registry.availability import RegistryAvailability
from app.settings.model import FailoverSettings
from app.upstream.client import Forwarder
from tests.lua.fleet import Fleet
from tests.support.simulated import NO_PEOPLE, running_sfu
from tests.support.waiting import eventually
from workers.simulator.faults import Fault
from workers.simulator.sfu import SfuConfig, SimulatedSfu

GATEWAY_KEY = Key(b"the key that Odoo and the gateway share")


async def _is_unknown(_: str) -> bool:
    return False


ANY_REGION = RegionChooser(RegionTable.load(), "any", frozenset, _is_unknown)


@dataclass(slots=True)
class Gateway:
    """A Redis, SFUs in the order in which they are asked, and replicas."""

    fleet: Fleet
    forwarder: Forwarder
    stack: AsyncExitStack
    sfus: list[SimulatedSfu] = field(default_factory=list)
    ids: "itertools.count[int]" = field(default_factory=itertools.count)

    async def add(self, count: int, **report: Any) -> list[SimulatedSfu]:
        """Start SFUs, each with a key of its own and more load than the ones before."""
        for _ in range(count):
            number = len(self.sfus)
            key = Key(f"the key of SFU {number}, known to nobody else".encode())
            config = SfuConfig(key, people=NO_PEOPLE, proxy=True, creation_delay_ms=20)
            sfu, _client = await self.stack.enter_async_context(running_sfu(config))
            self.sfus.append(sfu)
            await self.fleet.beat(sfu.address, key=key, **{"sessions": 50 * number} | report)
        return self.sfus

    def placer(self) -> Placer:
        """What a replica asks for SFUs."""
        registry = self.fleet.registry
        switch = RegistryAvailability(
            registry.fleet.snapshot,
            grace_s=12,
            on_return=_nothing_to_do,
            answered_at=lambda: registry.answered_at,
        )
        return Placer(registry, SnapshotPlacer(lambda: switch.snapshot), switch)

    def replica(
        self, failover: FailoverSettings | None = None, placer: Placer | None = None, **others: Any
    ) -> Channels:
        """A replica's channels; its placer, its clocks and its observer may be the test's."""
        channels = Channels(
            placer or self.placer(), self.forwarder, failover or FailoverSettings(), ANY_REGION, **others
        )
        self.stack.push_async_exit(channels)
        return channels

    def request(self, issuer: str = "issuer", tenant: Tenant | None = None, **claims: Any) -> ChannelRequest:
        """A request that the gateway has verified."""
        tenants = Tenants((tenant or Tenant("default", (GATEWAY_KEY,)),), clock=lambda: 0)
        caller = tenants.verify(GATEWAY_KEY.sign({"iss": issuer, "exp": 30} | claims))
        return ChannelRequest(f"request {next(self.ids)}", caller, "192.0.2.7")

    async def ask(self, issuer: str = "issuer") -> Placed:
        """One request at a replica of its own, and its reports."""
        replica = self.replica()
        placed = await replica.create(self.request(issuer))
        await eventually(lambda: replica.is_settled)
        return placed

    async def break_all(self, *faults: Fault) -> None:
        """Give each SFU its fault."""
        for sfu, fault in zip(self.sfus, faults, strict=True):
            await sfu.set_fault(fault)

    async def states(self) -> list[str]:
        """What the registry holds of each SFU."""
        return [(await self.fleet.registry.fleet.describe(sfu.address)).status for sfu in self.sfus]

    async def reserved(self) -> list[float]:
        """How many sessions each SFU is expected to get."""
        return [await self.fleet.reserved(sfu.address) for sfu in self.sfus]

    async def is_free(self, issuer: str = "issuer") -> bool:
        """Whether no request holds the issuer's placement."""
        return not await self.fleet.client.hget(self.fleet.keys.placement("default", issuer), "lock_owner")

    def tries(self) -> list[int]:
        """How often each SFU was asked for a channel."""
        return [sfu.api.counts["/v1/channel"] for sfu in self.sfus]

    def created(self) -> int:
        """How many channels there are on all SFUs."""
        return sum(len(sfu.channels.by_uuid) for sfu in self.sfus)


async def _nothing_to_do() -> None:
    pass
