"""What endpoints may use: made in the lifespan, typed here."""

from typing import TypedDict

from app.addresses import AddressGuard
from app.admission import Capacity
from app.channels import Channels
from app.counters import ChannelCounter
from app.dashboard.fleet_watch import FleetWatch
from app.disconnects import Disconnects
from app.event_feed import EventFeed
from app.history import History
from app.metrics import Metrics
from app.observer import ObservedRegions, ObservedTenants
from app.registration import Registration
from app.registry import Registry
from app.settings import Settings
from app.store_switch import StoreSwitch


class State(TypedDict):
    """The resources of one replica."""

    settings: Settings
    registry: Registry
    registration: Registration
    guard: AddressGuard
    tenants: ObservedTenants
    regions: ObservedRegions
    channels: Channels
    disconnects: Disconnects
    feed: EventFeed
    switch: StoreSwitch
    watch: FleetWatch
    history: History
    counter: ChannelCounter
    capacity: Capacity
    metrics: Metrics
    description: bytes
    """The OpenAPI document, rendered."""
