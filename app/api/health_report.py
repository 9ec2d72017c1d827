"""The document of `GET /v1/health`, computed at most once a second."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from app.api.schemas import Health, Sfu
from app.dashboard.fleet_watch import FleetView
from app.errors import RegistryUnavailable
from app.registry.availability import RegistryAvailability
from app.registry.fleet_reader import FleetReader
from app.registry.sfus import SfuStatus, in_order
from app.registry.snapshot import Eligibility, SnapshotNode

_TIERS: Final[dict[Eligibility, Literal["load", "ejected", ""]]] = {
    "selectable": "load",
    "last-resort": "ejected",
    "sticky-only": "",
}
_ERRORS: Final = 3
"""Failed attempts since an SFU's last success from which on the fleet is not well, although nobody may be to blame:
an SFU that is alone in its region has no witness."""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The answer of `/v1/health`, ready to be sent."""

    status_code: int
    body: bytes


def health_view(
    reader: FleetReader, switch: RegistryAvailability, regions: frozenset[str] | None = None
) -> FleetView[HealthReport]:
    """Return the view for `/v1/health`. It is computed at most once a second, and anew when the mode changes.

    `regions` are those that any tenant may use; `None` is all.
    """

    return FleetView(
        partial(known_fleet, reader, switch),
        lambda: True,
        lambda sfus: _report(sfus, switch, regions),
        situation=lambda: mode_of(switch),
    )


async def known_fleet(reader: FleetReader, switch: RegistryAvailability) -> list[SfuStatus]:
    """Return the fleet as the registry has it; while that is in doubt, as this replica last saw it."""
    if switch.uses_registry:
        with contextlib.suppress(RegistryUnavailable):
            return await switch.call(reader.fleet())
    return in_order(_last_seen(node) for node in switch.snapshot.nodes)


def _report(
    sfus: Sequence[SfuStatus], switch: RegistryAvailability, regions: frozenset[str] | None
) -> HealthReport:
    selectable = sum(sfu.is_selectable for sfu in sfus)
    document = Health(
        status=_overall(sfus, selectable, is_sure=switch.uses_registry),
        mode=mode_of(switch),
        selectable=selectable,
        sfus=[_shown(sfu, regions) for sfu in sfus],
    )
    return HealthReport(200 if selectable else 503, document.model_dump_json(exclude_none=True).encode())


def _shown(sfu: SfuStatus, regions: frozenset[str] | None) -> Sfu:
    shown = Sfu.of(sfu)
    if regions is None or sfu.region in regions:
        return shown
    return shown.model_copy(update={"warnings": [*shown.warnings, "region_not_allowed"]})


def _last_seen(node: SnapshotNode) -> SfuStatus:
    return SfuStatus(
        address=node.address,
        region=node.region,
        state=node.state,
        breaker="closed",
        generation=node.generation,
        heartbeat_age_ms=0,
        tier=_TIERS[node.eligibility],
        sessions=round(node.sessions),
        max_sessions=round(node.max_sessions),
        load=node.load,
    )


def mode_of(switch: RegistryAvailability) -> Literal["registry", "snapshot"]:
    return "registry" if switch.uses_registry else "snapshot"


def _overall(
    sfus: Sequence[SfuStatus], selectable: int, *, is_sure: bool
) -> Literal["ok", "degraded", "down"]:
    if selectable == 0:
        return "down"
    return "ok" if is_sure and all(_is_well(sfu) for sfu in sfus) else "degraded"


def _is_well(sfu: SfuStatus) -> bool:
    if sfu.state == "signed-off":
        return True
    return sfu.status in ("up", "draining") and sfu.breaker == "closed" and sfu.errors < _ERRORS
