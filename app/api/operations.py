"""The purpose of each HTTP route: the hand-written part of the OpenAPI document."""

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from app import errors
from app.api.schemas import (
    AddressOrder,
    Channel,
    Diagnosis,
    Disconnected,
    DrainOrder,
    Explanation,
    Health,
    HeartbeatReply,
    OrderDone,
    Ready,
    ResultOk,
    StatusOk,
)
from app.errors import GatewayError
from app.registration.service import HeartbeatBody

_CREDENTIALS: Final = (errors.CredentialsMissing, errors.CredentialsInvalid, errors.CredentialsExpired)
_ADMIN: Final = (errors.CredentialsMissing, errors.CredentialsInvalid, errors.RouteClosed)
_CHANNEL: Final = (
    *_CREDENTIALS, errors.IssuerMissing, errors.TenantLimitReached, errors.RequestRefusedBySfu,
    errors.NoSfuAvailable, errors.Overloaded, errors.ReplicaBusy, errors.AllSfusFailed, errors.DeadlineExceeded,
)  # fmt: skip
_ORDER: Final = (
    *_ADMIN, errors.MalformedBody, errors.InvalidField, errors.UnknownSfu, errors.RegistryUnavailable,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """The meaning of a status, and its body: a model as JSON, or text of a media type."""

    meaning: str
    body: type[BaseModel] | None = None
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Operation:
    """The purpose of one route."""

    summary: str
    tag: str
    answers: dict[int, Answer]
    problems: tuple[type[GatewayError], ...] = ()
    security: str | None = None
    takes: type[BaseModel] | str | None = None
    """The model of the request body, or the description of a plain text."""
    query: tuple[tuple[str, str], ...] = ()
    """Query parameters and their meaning; all are optional."""


def _ok(model: type[BaseModel]) -> dict[int, Answer]:
    return {200: Answer((model.__doc__ or "").split("\n", maxsplit=1)[0], model)}


def _text(meaning: str, media_type: str) -> dict[int, Answer]:
    return {200: Answer(meaning, None, media_type)}


_HINTS: Final = (("region", "Region to prefer."), ("country", "Country to be near to, ISO 3166-1 alpha-2."))
_CHANNEL_OPERATION: Final = Operation(
    "Ask for a call channel", "channels", _ok(Channel), _CHANNEL, "channelToken", query=_HINTS
)

OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("GET", "/v1/channel"): _CHANNEL_OPERATION,
    ("GET", "/r/{region}/v1/channel"): _CHANNEL_OPERATION,
    ("POST", "/v1/disconnect"): Operation(
        "End sessions of calls", "channels", _ok(Disconnected),
        (errors.BodyTooLarge, errors.ReplicaBusy, errors.RegistryUnavailable),
        takes="The bare token (JWT, HS256) with `sessionIdsByChannel`; 422 `credentials_invalid` for a bad one.",
    ),
    ("POST", "/v1/sfu"): Operation(
        "Register, report or sign off an SFU", "sfus", _ok(HeartbeatReply),
        (*_CREDENTIALS, errors.MalformedBody, errors.BodyTooLarge, errors.InvalidField, errors.RouteClosed,
         errors.AddressNotAllowed, errors.AddressLeased, errors.RateLimited, errors.ReplicaBusy,
         errors.RegistryUnavailable),
        "registrationToken", HeartbeatBody,
    ),
    ("GET", "/v1/health"): Operation(
        "Show the fleet", "operators",
        {200: Answer("At least one SFU is selectable.", Health), 503: Answer("None is.", Health)},
        _ADMIN,
    ),
    ("GET", "/v1/diagnosis"): Operation(
        "Show what is wrong", "operators", _ok(Diagnosis), _ADMIN,
    ),
    ("GET", "/v1/events"): Operation(
        "Follow transitions of SFUs", "operators",
        _text("Server-sent events; `Last-Event-ID` replays what came after it.", "text/event-stream"),
        (*_ADMIN, errors.InvalidField),
    ),
    ("GET", "/v1/admin/explain"): Operation(
        "Explain a would-be placement", "operators", _ok(Explanation),
        (*_ADMIN, errors.InvalidField, errors.RegistryUnavailable), "adminToken",
        query=(*_HINTS, ("issuer", "The `iss` that would ask."), ("tenant", "The tenant that would ask.")),
    ),
    ("POST", "/v1/admin/sfus/drain"): Operation(
        "Let an SFU take no new channels", "operators", _ok(OrderDone), _ORDER, "adminToken", DrainOrder
    ),
    ("POST", "/v1/admin/sfus/resume"): Operation(
        "Take back a drain", "operators", _ok(OrderDone), _ORDER, "adminToken", AddressOrder
    ),
    ("POST", "/v1/admin/sfus/reset"): Operation(
        "End an ejection and forget its failures", "operators", _ok(OrderDone), _ORDER, "adminToken", AddressOrder
    ),
    ("POST", "/v1/admin/sfus/forget"): Operation(
        "Remove every trace of an SFU", "operators", _ok(OrderDone), _ORDER, "adminToken", AddressOrder
    ),
    ("GET", "/dashboard"): Operation("The operators' page", "dashboard", _text("The page.", "text/html")),
    ("GET", "/dashboard/"): Operation("The operators' page", "dashboard", _text("The page.", "text/html")),
    ("GET", "/dashboard/{name}"): Operation(
        "A file of the page", "dashboard", _text("The file.", "application/octet-stream")
    ),
    ("GET", "/dashboard/runbooks/{name}"): Operation(
        "What to do about a trouble", "dashboard", _text("Its section of docs/runbooks.md.", "text/plain")
    ),
    ("GET", "/v1/dashboard/data"): Operation(
        "What the page shows", "dashboard", _text("Made for the page; may change.", "application/json"), _ADMIN
    ),
    ("GET", "/v1/dashboard/history"): Operation(
        "One SFU's last hour", "dashboard", _text("Made for the page; may change.", "application/json"),
        (*_ADMIN, errors.InvalidField), query=(("address", "The SFU."),),
    ),
    ("GET", "/noop"): Operation("Answer", "probes", _ok(StatusOk)),
    ("GET", "/v1/noop"): Operation("Answer as an SFU does", "probes", _ok(ResultOk)),
    ("GET", "/livez"): Operation("Whether the process is alive", "probes", _ok(StatusOk)),
    ("GET", "/readyz"): Operation(
        "Whether this replica can place channels", "probes", _ok(Ready), (errors.RegistryUnavailable,)
    ),
    ("GET", "/metrics"): Operation(
        "Metrics for Prometheus", "probes", _text("Metrics: docs/metrics.md.", "text/plain")
    ),
    ("GET", "/openapi.json"): Operation(
        "This document", "probes", _text("OpenAPI 3.1.", "application/json")
    ),
}  # fmt: skip

SECURITY: Final = {
    "channelToken": ("JWT", "JWT (HS256) signed with the gateway's `key`, with `iss` and `exp`. Any scheme word."),
    "registrationToken": ("JWT", "JWT (HS256) signed with `registration.key`, with an `exp` within five minutes."),
    "adminToken": ("opaque", "The gateway's `admin_token`."),
}  # fmt: skip
