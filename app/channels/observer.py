"""What the channel journey tells whoever measures it. Observers are told; nothing ever waits for one."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol

from app.auth.tenants import Caller, Tenant, Tenants
from app.regions.choice import RegionChoice, RegionChooser
from app.registry.placements import Reason

Phase = Literal["verify", "select", "forward", "report"]


class Observer(Protocol):
    """Whoever measures placements."""

    def phase(self, name: Phase) -> AbstractContextManager[object]:
        """Return a context that lasts as long as one phase of one request."""

    def placed(self, region: str, reason: Reason, attempts: int) -> None:
        """A channel was created in `region`; `attempts` SFUs were asked for it."""

    def forward_failed(self, region: str) -> None:
        """An SFU in `region` did not create a channel that was placed on it."""

    def channel_orphaned(self, region: str) -> None:
        """An SFU in `region` created a channel after another SFU's channel had been given to the caller."""

    def report_failed(self, error: Exception) -> None:
        """The outcome of an attempt could not be reported, by a defect."""

    def hint_ignored(self) -> None:
        """A request named an unknown region or country."""


class NullObserver:
    """Nobody measures."""

    def phase(self, _: Phase) -> AbstractContextManager[object]:
        """Measure nothing."""
        return nullcontext()

    def placed(self, region: str, reason: Reason, attempts: int) -> None:
        """Take no note."""

    def forward_failed(self, region: str) -> None:
        """Take no note."""

    def channel_orphaned(self, region: str) -> None:
        """Take no note."""

    def report_failed(self, error: Exception) -> None:
        """Take no note."""

    def hint_ignored(self) -> None:
        """Take no note."""


class ObservedTenants:
    """Tenants whose verifying is a phase of the request."""

    def __init__(self, tenants: Tenants, observer: Observer) -> None:
        self._tenants = tenants
        self._observer = observer

    def verify(self, token: str) -> Caller:
        """As `Tenants.verify`."""
        with self._observer.phase("verify"):
            return self._tenants.verify(token)

    def named(self, name: str | None) -> Tenant:
        """As `Tenants.named`."""
        return self._tenants.named(name)


class ObservedRegions:
    """A chooser that tells of hints it could not follow."""

    def __init__(self, chooser: RegionChooser, observer: Observer) -> None:
        self._chooser = chooser
        self._observer = observer

    async def choose(
        self, tenant: Tenant, client: str, *, region: str | None, country: str | None, path: str | None
    ) -> RegionChoice:
        """As `RegionChooser.choose`."""
        choice = await self._chooser.choose(tenant, client, region=region, country=country, path=path)
        if choice.hint.ignored:
            self._observer.hint_ignored()
        return choice
