"""Audit events: one log line `audit` for each registration, sign-off, operator's order, and each refusal of one."""

from typing import Final, Literal, TypeAlias

from starlette.requests import Request

from app.api.request_context import client_of, noted, request_id_of
from app.api.state import State
from app.logs import logger

log = logger(__name__)

Action: TypeAlias = Literal[
    "registered",
    "signed_off",
    "reported_gone",
    "registration_refused",
    "drain",
    "resume",
    "reset",
    "forget",
    "admin_refused",
]

_REFUSALS: Final = frozenset({"registration_refused", "admin_refused"})


def audit(request: Request[State], action: Action, *, code: str | None = None) -> None:
    """Log `action`, the caller, and the SFU that the request has noted as `sfu`.

    `code` is that of a refusal. Refusals are warnings, the rest is information.
    """
    write = log.warning if action in _REFUSALS else log.info
    details = {"sfu": noted(request.scope, "sfu"), "code": code}
    write(
        "audit",
        action=action,
        request_id=request_id_of(request.scope),
        client=client_of(request.scope, request.state["settings"].trust_proxy),
        **{name: value for name, value in details.items() if value is not None},
    )
