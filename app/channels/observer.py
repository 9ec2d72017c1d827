"""The measuring points of the channel journey. The journey never waits for an observer."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol

from app.registry.placements import Reason

Phase = Literal["verify", "select", "forward", "report"]


class Observer(Protocol):
    """Measures placements."""

    def phase(self, name: Phase) -> AbstractContextManager[object]:
        """Return a context that lasts as long as one phase of one request."""

    def begin(self, name: Phase) -> Callable[[], object]:
        """Begin a phase that ends in another task; return what ends it."""

    def placed(self, region: str, reason: Reason, attempts: int) -> None:
        """A channel was created in `region`; `attempts` SFUs were asked for it."""

    def forward_failed(self, region: str) -> None:
        """An SFU in `region` did not create a channel that was placed on it."""

    def channel_orphaned(self, region: str) -> None:
        """An SFU in `region` created a channel after the caller had got the channel of another SFU."""

    def report_failed(self, error: Exception) -> None:
        """The outcome of an attempt could not be reported, by a defect."""

    def hint_ignored(self) -> None:
        """A request named an unknown region or country."""


class NullObserver:
    """Measures nothing."""

    def phase(self, _: Phase) -> AbstractContextManager[object]:
        """Return an empty context."""
        return nullcontext()

    def begin(self, _: Phase) -> Callable[[], object]:
        """Return a function without effect."""
        return lambda: None

    def placed(self, region: str, reason: Reason, attempts: int) -> None:
        """Do nothing."""

    def forward_failed(self, region: str) -> None:
        """Do nothing."""

    def channel_orphaned(self, region: str) -> None:
        """Do nothing."""

    def report_failed(self, error: Exception) -> None:
        """Do nothing."""

    def hint_ignored(self) -> None:
        """Do nothing."""
