"""The resources that endpoints use. The lifespan makes them."""

from typing import TypedDict

from app.api.budgets import Budgets
from app.api.diagnosis_report import DiagnosisReport
from app.api.failed_logins import FailedLogins
from app.api.health_report import HealthReport
from app.api.openapi import Description
from app.auth.tenants import Tenants
from app.channels.disconnects import Disconnects
from app.channels.observer import Observer
from app.channels.service import Channels
from app.dashboard.counters import ChannelCounter
from app.dashboard.fleet_watch import FleetView
from app.dashboard.history import History
from app.dashboard.packed import PackedBeginning
from app.events.feed import EventFeed
from app.regions.choice import RegionChooser
from app.registration.service import Registration
from app.registry.availability import RegistryAvailability
from app.registry.known_fleet import KnownFleet
from app.registry.registry import Registry
from app.settings.model import Settings
from app.telemetry.metrics import Metrics
from app.upstream.addresses import AddressGuard


class State(TypedDict):
    """The resources of one replica."""

    settings: Settings
    registry: Registry
    registration: Registration
    guard: AddressGuard
    tenants: Tenants
    regions: RegionChooser
    observer: Observer
    channels: Channels
    disconnects: Disconnects
    feed: EventFeed
    switch: RegistryAvailability
    watch: FleetView[PackedBeginning]
    health: FleetView[HealthReport]
    diagnosis: DiagnosisReport
    fleet: KnownFleet
    history: History
    counter: ChannelCounter
    budgets: Budgets
    failed_logins: FailedLogins
    metrics: Metrics
    description: Description


def expire_views(state: State, *addresses: str) -> None:
    """Make health, dashboard and diagnosis read anew: this replica has changed something.

    `addresses` are SFUs that changed without a transition, it may be.
    """
    state["fleet"].expire(*addresses)
    for view in (state["health"], state["watch"], state["diagnosis"]):
        view.expire()
