"""What endpoints may use: made in the lifespan, typed here."""

from typing import TypedDict

from app.addresses import AddressGuard
from app.channels import Channels
from app.fleet_view import FleetView
from app.region_choice import RegionChooser
from app.registration import Registration
from app.registry import Registry
from app.settings import Settings
from app.tenants import Tenants


class State(TypedDict):
    """The resources of one replica."""

    settings: Settings
    registry: Registry
    registration: Registration
    guard: AddressGuard
    tenants: Tenants
    regions: RegionChooser
    channels: Channels
    fleet: FleetView
