"""Every key in Redis. The map with types, lifetimes and writers is `docs/keys.md`.

All keys of a fleet carry one hash tag, so they live in one slot of a Cluster and one script may touch them
all; several fleets spread over a Cluster by namespace. `lua/includes/key.lua` builds the same names.
"""

from dataclasses import dataclass
from typing import Final

SCHEMA: Final = 1
"""The layout that this version writes. What may change within one, what needs another: docs/operations.md."""

OLDEST_SCHEMA: Final = 1
NEWEST_SCHEMA: Final = 1
"""The layouts whose data this version can work with, whichever it writes itself."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one namespace."""

    namespace: str = "sfu"

    @property
    def prefix(self) -> str:
        """What every key starts with; scripts get it as `KEYS[1]`."""
        return f"{{{self.namespace}}}:"

    @property
    def channel_name(self) -> str:
        """The pub/sub channel on which transitions are published."""
        return f"{self.namespace}:events"

    def node(self, address: str) -> str:
        """Hash of one living SFU. Its TTL is its health."""
        return f"{self.prefix}node:{address}"

    @property
    def deadlines(self) -> str:
        """Sorted set of living SFUs by health deadline (ms)."""
        return f"{self.prefix}deadlines"

    @property
    def known(self) -> str:
        """Hash of what is remembered of every SFU, living or lost (JSON)."""
        return f"{self.prefix}known"

    @property
    def lost(self) -> str:
        """Sorted set of SFUs that went down, by when (ms)."""
        return f"{self.prefix}lost"

    @property
    def fleet(self) -> str:
        """Hash of the fleet's counters and of what placement has learned."""
        return f"{self.prefix}fleet"

    @property
    def events(self) -> str:
        """Stream of transitions: the outbox."""
        return f"{self.prefix}events"

    def load(self, region: str | None = None) -> str:
        """Sorted set of selectable SFUs by effective load, of one region or of all."""
        return f"{self.prefix}load" + (f":{region}" if region else "")

    def overloaded(self, region: str | None = None) -> str:
        """Set of SFUs that are out by load alone, of one region or of all."""
        return f"{self.prefix}overloaded" + (f":{region}" if region else "")

    def members(self, region: str) -> str:
        """Set of a region's living SFUs."""
        return f"{self.prefix}members:{region}"

    def ejected(self, region: str) -> str:
        """Set of a region's SFUs that are out by failures."""
        return f"{self.prefix}ejected:{region}"

    def breaker(self, address: str) -> str:
        """Hash of one SFU's circuit breaker."""
        return f"{self.prefix}breaker:{address}"

    @property
    def probes(self) -> str:
        """Sorted set of SFUs with an open breaker, by when to probe (ms)."""
        return f"{self.prefix}probes"

    def placement(self, tenant: str, issuer: str) -> str:
        """Hash: where an issuer is placed, and which request is placing it."""
        return f"{self.prefix}placement:{tenant}:{issuer}"

    @property
    def inflight(self) -> str:
        """Sorted set of held placements, by when their hold ends (ms)."""
        return f"{self.prefix}inflight"

    def tenant(self, tenant: str) -> str:
        """Sorted set of a limited tenant's issuers, by when their placement is forgotten (ms)."""
        return f"{self.prefix}tenant:{tenant}"

    def channel(self, uuid: str) -> str:
        """String: the address of the SFU that has this channel."""
        return f"{self.prefix}channel:{uuid}"

    @property
    def confirmations(self) -> str:
        """Stream: the placements that were confirmed last, for the memories of the replicas."""
        return f"{self.prefix}confirmations"

    @property
    def draining(self) -> str:
        """Hash of the operator's drains: address to deadline (ms, 0 for none)."""
        return f"{self.prefix}draining"

    @property
    def read(self) -> str:
        """String: when a replica last read a snapshot (ms); proves that Redis takes writes."""
        return f"{self.prefix}read"

    @property
    def sweeper(self) -> str:
        """String: the name of the active sweeper."""
        return f"{self.prefix}sweeper"
