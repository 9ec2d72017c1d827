"""Every key in Redis. The map with types, lifetimes and writers is `docs/keys.md`.

All keys of a fleet carry one hash tag, so they live in one slot of a Cluster and one script may touch them
all; several fleets spread over a Cluster by namespace. `lua/includes/key.lua` builds the same names.
"""

from dataclasses import dataclass
from typing import Final

SCHEMA: Final = 2
"""The layout that this version writes. What may change within one, what needs another: docs/upgrade.md."""

OLDEST_SCHEMA: Final = 2
NEWEST_SCHEMA: Final = 2
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
        """Hash of the facts about one SFU, living or lost."""
        return f"{self.prefix}node:{address}"

    @property
    def sfus(self) -> str:
        """Sorted set of every SFU, living or lost, by address (all scores are 0)."""
        return f"{self.prefix}sfus"

    @property
    def deadlines(self) -> str:
        """Sorted set of living SFUs by health deadline (ms)."""
        return f"{self.prefix}deadlines"

    @property
    def lost(self) -> str:
        """Sorted set of SFUs that went down, by when (ms)."""
        return f"{self.prefix}lost"

    @property
    def drains(self) -> str:
        """Sorted set of SFUs with a drain deadline that has not been announced, by deadline (ms)."""
        return f"{self.prefix}drains"

    @property
    def returning(self) -> str:
        """Sorted set of SFUs whose ejection or half-open permit ends, by when (ms)."""
        return f"{self.prefix}returning"

    @property
    def fleet(self) -> str:
        """Hash of the fleet's epoch, its counters and what placement has learned."""
        return f"{self.prefix}fleet"

    @property
    def events(self) -> str:
        """Stream of transitions: the outbox."""
        return f"{self.prefix}events"

    def load(self, region: str | None = None) -> str:
        """Sorted set of selectable and half-open SFUs by effective load, of one region or of all."""
        return self._index("load", region)

    def round_robin(self, region: str | None = None) -> str:
        """Sorted set of the members of `load` by when they were chosen last."""
        return self._index("round_robin", region)

    def ejected(self, region: str | None = None) -> str:
        """Sorted set of ejected SFUs by effective load: the last resort."""
        return self._index("ejected", region)

    def overloaded(self, region: str | None = None) -> str:
        """Sorted set of SFUs that are out by load alone, by effective load."""
        return self._index("overloaded", region)

    def _index(self, kind: str, region: str | None) -> str:
        return f"{self.prefix}{kind}" + (f":{region}" if region else "")

    def placement(self, tenant: str, issuer: str) -> str:
        """Hash: where an issuer is placed, and which request is placing it."""
        return f"{self.prefix}placement:{tenant}:{issuer}"

    @property
    def attempts(self) -> str:
        """Sorted set of attempts under way, `<request id>:<number>`, by when their lock ends (ms)."""
        return f"{self.prefix}attempts"

    def attempt(self, name: str) -> str:
        """String: what one attempt, `<request id>:<number>`, has reserved, or how it ended."""
        return f"{self.prefix}attempt:{name}"

    def tenant(self, tenant: str) -> str:
        """Sorted set of a limited tenant's issuers, by when their placement is forgotten (ms)."""
        return f"{self.prefix}tenant:{tenant}"

    def channel(self, uuid: str) -> str:
        """String: tenant, SFU address and caller address of a channel, separated by spaces."""
        return f"{self.prefix}channel:{uuid}"

    def calls(self, address: str) -> str:
        """Sorted set of the calls of one SFU, `<tenant>:<issuer>`, by when they were confirmed last (ms)."""
        return f"{self.prefix}calls:{address}"

    @property
    def expiry_suspended_until(self) -> str:
        """String: until when expiry is suspended (ms), because most of the fleet is silent."""
        return f"{self.prefix}expiry_suspended_until"

    @property
    def confirmations(self) -> str:
        """Stream: the channels that were confirmed last, for the memories of the replicas."""
        return f"{self.prefix}confirmations"

    @property
    def doctor(self) -> str:
        """A name that no key has: the doctor tries to overwrite it, which changes nothing."""
        return f"{self.prefix}doctor"

    @property
    def sweeper(self) -> str:
        """String: the name of the active sweeper."""
        return f"{self.prefix}sweeper"
