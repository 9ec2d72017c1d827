"""The document of `GET /v1/health`, computed at most once a second."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from app.api.schemas import Health, Sfu
from app.dashboard.fleet_watch import FleetView
from app.registry.availability import RegistryAvailability
from app.registry.known_fleet import KnownFleet
from app.registry.sfus import SfuStatus

_ERRORS: Final = 3
"""Failed attempts since an SFU's last success from which on the fleet is not well, although nobody may be to blame:
an SFU that is alone in its region has no witness."""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The answer of `/v1/health`, ready to be sent."""

    status_code: int
    body: bytes


def health_view(
    fleet: KnownFleet, switch: RegistryAvailability, regions: frozenset[str] | None = None
) -> FleetView[HealthReport]:
    """Return the view for `/v1/health`. It is computed at most once a second, and anew when the mode changes.

    `regions` are those that any tenant may use; `None` is all.
    """
    return FleetView(
        fleet.read_or_last_seen,
        lambda: True,
        lambda sfus: _report(sfus, switch, regions),
        situation=lambda: mode_of(switch),
    )


def _report(
    sfus: Sequence[SfuStatus], switch: RegistryAvailability, regions: frozenset[str] | None
) -> HealthReport:
    selectable = sum(sfu.is_selectable for sfu in sfus)
    status = _overall(sfus, selectable, is_sure=switch.uses_registry)
    head = Health(status=status, mode=mode_of(switch), selectable=selectable, sfus=[]).model_dump_json()
    one_by_one = (_shown(sfu, regions).model_dump_json(exclude_none=True) for sfu in sfus)
    body = f"{head.removesuffix(']}')}{','.join(one_by_one)}]}}"  # 10,000 at once take memory
    return HealthReport(200 if selectable else 503, body.encode())


def _shown(sfu: SfuStatus, regions: frozenset[str] | None) -> Sfu:
    shown = Sfu.of(sfu)
    if regions is None or sfu.region in regions:
        return shown
    return shown.model_copy(update={"warnings": [*shown.warnings, "region_not_allowed"]})


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
