"""The heartbeat journey: authenticate, validate, hand to the registry (roadmap, phase 1)."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.crypto.claims import Claims
from app.crypto.tokens import (
    CLOCK_TOLERANCE_SECONDS,
    MAX_REGISTRATION_LIFE_SECONDS,
    SFU_TOKEN_LIFE_SECONDS,
    Key,
    bearer_token,
    clock_difference,
    verify,
)
from app.errors import (
    CredentialsInvalid,
    InvalidField,
    MalformedBody,
    RateLimited,
    RegistryUnavailable,
    RouteClosed,
)
from app.json_text import decoder
from app.names import NAME_PATTERN
from app.registry.availability import RegistryAvailability
from app.registry.registry import Registry
from app.registry.sfus import SfuReport
from app.settings.model import Capacity, Settings
from app.upstream.addresses import AddressGuard, parse_address, sfu_address
from app.upstream.client import Forwarder, ForwardError

_CHECK_TIMEOUT_S: Final = 1.5
"""Shorter than the agent's timeout, so that the agent gets the answer."""

_MAX_CHECKS: Final = 8
"""Checks at once on one replica. A check keeps its request open until the SFU has answered."""

_decode: Final = decoder()

Count = Annotated[int, Field(ge=0, le=10**9)]
Usage = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class HeartbeatBody(BaseModel):
    """The payload of `POST /v1/sfu`, with the roadmap's names. Types are strict; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)

    status: Literal["up", "down", "check"]
    """`check` registers nothing: the gateway asks the SFU and answers what it found."""
    reason: Literal["signed-off", "unreachable"] = "signed-off"
    """Why the SFU is `down`. `unreachable`: the agent finds the SFU's port closed."""
    address: str
    key: Annotated[str, Field(max_length=4_096)]
    """Every replica and every placement reads it; an SFU's has some 44 characters."""
    region: Annotated[str, Field(pattern=NAME_PATTERN)] = "default"
    channels: Count = 0
    sessions: Count = 0
    cpuUsage: Usage = 0.0  # noqa: N815 - the roadmap's name
    """0 to 1; more counts as 1."""
    memoryUsage: Usage = 0.0  # noqa: N815
    """0 to 1; more counts as 1."""
    maxSessions: Capacity | None = None  # noqa: N815
    publicUrl: str | None = None  # noqa: N815
    draining: bool = False
    instance: Annotated[str, Field(pattern=NAME_PATTERN)] | None = None
    """Random id of the process that reports; another one under the same address and key is another process."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to an SFU."""

    next_ping_ms: int
    is_draining: bool
    change: Literal["registered", "signed_off", "reported_gone"] | None = None
    """What the heartbeat changed; empty for an ordinary heartbeat."""
    checked: "Checked | None" = None
    """The answer to a check."""
    warnings: tuple[str, ...] = ()
    """What replicas have seen to be wrong with its set-up."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of a check by this replica."""

    is_reachable: bool
    is_key_accepted: bool | None
    """`None` when the SFU's answer does not say."""
    clock_ahead_s: int = 0
    """By how much the SFU's clock differs, where its refusal shows that."""


class Registration:
    """Takes heartbeats."""

    def __init__(
        self,
        registry: Registry,
        settings: Settings,
        guard: AddressGuard,
        switch: RegistryAvailability,
        forwarder: Forwarder,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`forwarder` tries SFUs that ask for a check; `clock` is in seconds since the epoch."""
        self._registry = registry
        self._settings = settings
        self._guard = guard
        self._switch = switch
        self._forwarder = forwarder
        self._checks = asyncio.Semaphore(_MAX_CHECKS)
        self._clock = clock

    def authenticate(self, authorization: str | None) -> Claims:
        """Return the claims of a token signed with a registration key; no claims with `registration.auth = "none"`.

        Raises:
            RouteClosed: the operator has set no registration key.
            CredentialsMissing, CredentialsInvalid, CredentialsExpired: no token, a wrong or an old one.
        """
        registration = self._settings.registration
        if registration.auth == "none":
            return {}
        if not registration.key:
            raise RouteClosed("set registration.key to let SFUs register")
        now = self._clock()
        claims = verify(bearer_token(authorization), registration.key, now=now)
        ahead = claims["exp"] - now
        if ahead > MAX_REGISTRATION_LIFE_SECONDS + CLOCK_TOLERANCE_SECONDS:
            raise CredentialsInvalid(
                f"exp is {ahead:.0f} s ahead of the gateway's clock, more than {MAX_REGISTRATION_LIFE_SECONDS} s: "
                "make tokens that live shorter, or compare the clocks of SFU and gateway",
                clock_difference(claims, now),
            )
        return claims

    async def take(self, body: HeartbeatBody, claims: Claims | None = None) -> Reply:
        """Register, renew or remove the SFU that sent `body` with a token of these `claims`.

        Raises:
            CredentialsInvalid: the token is bound to another address.
            InvalidField: its key or public URL is not valid; the field is named.
            AddressNotAllowed, AddressLeased, RateLimited: understood and refused.
            RegistryUnavailable: Redis is away.
        """
        _check_subject(claims or {}, body.address)
        self._guard.check(body.address)
        key = _key(body.key)
        if body.status == "check":
            return Reply(self._settings.next_ping_ms, False, checked=await self._check(body.address, key))
        if self._switch.refuses_heartbeats:
            raise RegistryUnavailable(self._switch.reason)
        return await self._switch.call(self._tell_registry(body, key))

    async def _check(self, address: str, key: Key) -> Checked:
        """Send the SFU at `address` an empty disconnect: it shows whether the SFU answers and accepts `key`."""
        if self._checks.locked():
            raise RateLimited(f"this replica makes {_MAX_CHECKS} checks at once; send this one again")
        claims = {"sessionIdsByChannel": {}, "exp": int(self._clock()) + SFU_TOKEN_LIFE_SECONDS}
        try:
            async with self._checks:
                await self._forwarder.disconnect(
                    address, token=key.sign(claims), client="192.0.2.1", timeout_s=_CHECK_TIMEOUT_S
                )
        except ForwardError as error:
            if error.blame == "never":  # the fault is the gateway's, so the check fails open
                return Checked(is_reachable=True, is_key_accepted=None)
            is_refused = error.status in (401, 403, 422)
            return Checked(error.status is not None, False if is_refused else None, error.clock_ahead_s)
        return Checked(is_reachable=True, is_key_accepted=True)

    async def _tell_registry(self, body: HeartbeatBody, key: Key) -> Reply:
        if body.status == "down":
            return await self._sign_off(body, key)
        answer = await self._registry.registrations.heartbeat(
            SfuReport(
                address=body.address,
                region=body.region,
                key=key,
                channels=body.channels,
                sessions=body.sessions,
                max_sessions=body.maxSessions or self._settings.balancing.max_sessions,
                cpu=min(body.cpuUsage, 1.0),
                memory=min(body.memoryUsage, 1.0),
                public_url=parse_address("publicUrl", body.publicUrl) if body.publicUrl else "",
                is_draining=body.draining,
                instance=body.instance or "",
            )
        )
        change: Literal["registered"] | None = "registered" if answer.is_new else None
        return Reply(self._settings.next_ping_ms, answer.is_draining, change, warnings=answer.setup)

    async def _sign_off(self, body: HeartbeatBody, key: Key) -> Reply:
        is_gone = body.reason == "unreachable"
        was_there = await self._registry.registrations.sign_off(body.address, key, is_gone=is_gone)
        change: Literal["signed_off", "reported_gone"] = "reported_gone" if is_gone else "signed_off"
        return Reply(self._settings.next_ping_ms, False, change if was_there else None)


def read_heartbeat(raw: bytes) -> HeartbeatBody:
    """Return the heartbeat in a request body, with the canonical form of its address.

    Raises:
        MalformedBody: not a JSON object.
        InvalidField: not a heartbeat; the field is named.
    """
    try:
        document: Any = _decode(raw.decode())
    except (ValueError, RecursionError):
        raise MalformedBody("the body is not JSON in UTF-8") from None
    if not isinstance(document, dict):
        raise MalformedBody("the body is not a JSON object")
    try:
        body = HeartbeatBody.model_validate(document)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise InvalidField(field, problem["msg"]) from None
    body.address = parse_address("address", body.address)
    return body


def _check_subject(claims: Claims, address: str) -> None:
    """Refuse a token whose `sub` names another SFU's address (RFC 7519 section 4.1.2)."""
    if "sub" not in claims:
        return
    try:
        subject = sfu_address(claims["sub"])
    except ValueError:
        raise CredentialsInvalid("the token's sub is no address of an SFU") from None
    if subject != address:
        raise CredentialsInvalid("the token is for another address (sub)")


def _key(text: str) -> Key:
    try:
        return Key.from_base64(text)
    except ValueError as error:
        raise InvalidField("key", str(error)) from None
