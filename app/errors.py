"""Every way a request can fail, in one tree.

    GatewayError                     status  code
    ├── BadInput
    │   ├── BadRequest               400     bad_request
    │   ├── MalformedBody            400     malformed
    │   ├── RequestTimedOut          408     request_timeout
    │   ├── BodyTooLarge             413     too_large
    │   ├── TargetTooLong            414     target_too_long
    │   ├── HeadTooLarge             431     head_too_large
    │   └── InvalidField             422     invalid_field     (names the field)
    ├── Refused
    │   ├── CredentialsMissing       401     credentials_missing
    │   ├── CredentialsInvalid       401     credentials_invalid
    │   │   └── CredentialsExpired   401     credentials_expired
    │   ├── IssuerMissing            403     issuer_missing
    │   ├── RouteClosed              403     closed
    │   ├── AddressNotAllowed        403     address_not_allowed
    │   ├── UnknownSfu               404     unknown_sfu
    │   ├── AddressLeased            409     address_leased
    │   ├── TooManyFailures          429     too_many_failures (retry helps)
    │   ├── RateLimited              429     rate_limited      (retry helps)
    │   └── TenantLimitReached       429     tenant_limit      (retry helps)
    └── ChannelNotPlaced
        ├── RequestRefusedBySfu      502     refused_by_sfu
        ├── NoneSelectable                                     (with the registry's epoch)
        │   ├── NoSfuAvailable       503     no_sfu            (retry helps)
        │   └── Overloaded           503     overloaded        (retry helps)
        ├── ReplicaBusy              503     overloaded        (retry helps)
        ├── ViewersFull              503     too_many_viewers  (retry helps)
        ├── AllSfusFailed            503     all_failed        (retry helps)
        ├── ReplicaFault             503     replica_fault     (retry helps)
        ├── DeadlineExceeded         503     deadline          (retry helps)
        └── RegistryUnavailable      503     store_unavailable (retry helps)

One handler (`app.api.problems`) renders them all as RFC 9457 problem documents. Codes are stable: callers may
branch on them. Details never carry a key, a token or any other secret.
"""

from typing import ClassVar, Final

SETTINGS_EXIT_CODE: Final = 3
"""The exit code of a process that cannot work with its settings, or with the data in Redis."""


class SettingsError(Exception):
    """One or more settings are wrong. The message names each; it never shows a value."""


class GatewayError(Exception):
    """A failed request: its HTTP status, its stable code and whether asking again later may help."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "The gateway failed"
    retry_after_seconds: ClassVar[int | None] = None

    def __init__(self, detail: str) -> None:
        """`detail` is one sentence for the caller, free of secrets."""
        super().__init__(detail)
        self.detail = detail


class BadInput(GatewayError):
    """The input is not valid; the same request never succeeds."""


class BadRequest(BadInput):
    """The bytes are not an HTTP/1.1 request, or an ambiguous one."""

    status = 400
    code = "bad_request"
    title = "This is not a request"


class MalformedBody(BadInput):
    """The body is not of the route's content type."""

    status = 400
    code = "malformed"
    title = "The request body cannot be read"


class RequestTimedOut(BadInput):
    """The request did not arrive whole in time."""

    status = 408
    code = "request_timeout"
    title = "The request did not arrive in time"


class BodyTooLarge(BadInput):
    """The body is longer than the route reads."""

    status = 413
    code = "too_large"
    title = "The request body is too large"


class TargetTooLong(BadInput):
    """Path and query are too long."""

    status = 414
    code = "target_too_long"
    title = "The request target is too long"


class HeadTooLarge(BadInput):
    """Request line and headers are too long, or the headers too many."""

    status = 431
    code = "head_too_large"
    title = "The request head is too large"


class InvalidField(BadInput):
    """One field has a value outside its domain."""

    status = 422
    code = "invalid_field"
    title = "A field is not valid"

    def __init__(self, field: str, detail: str) -> None:
        """`field` is named as the caller wrote it; `detail` says what is wrong with its value."""
        super().__init__(f"{field}: {detail}")
        self.field = field


class Refused(GatewayError):
    """The request is valid and not allowed."""


class CredentialsMissing(Refused):
    """There is no `Authorization` header, or no token in it."""

    status = 401
    code = "credentials_missing"
    title = "Credentials are missing"


class CredentialsInvalid(Refused):
    """The token's signature, algorithm or shape is wrong.

    `clock_difference_s` is set when the token is refused for its time and names when it was issued. It is the number
    of seconds by which the sender's clock is ahead of the gateway's.
    """

    status = 401
    code = "credentials_invalid"
    title = "Credentials are not valid"

    def __init__(self, detail: str, clock_difference_s: float | None = None) -> None:
        super().__init__(detail)
        self.clock_difference_s = clock_difference_s


class CredentialsExpired(CredentialsInvalid):
    """The token is valid but for its `exp`."""

    status = 401
    code = "credentials_expired"
    title = "Credentials have expired"


class IssuerMissing(Refused):
    """The token is genuine but names no issuer, so no channel can be chosen for it."""

    status = 403
    code = "issuer_missing"
    title = "The token names no issuer"


class RouteClosed(Refused):
    """The operator has not opened this route."""

    status = 403
    code = "closed"
    title = "This route is closed"


class AddressNotAllowed(Refused):
    """The gateway may not connect to the SFU's address."""

    status = 403
    code = "address_not_allowed"
    title = "This SFU address is not allowed"


class UnknownSfu(Refused):
    """No SFU is known under this address."""

    status = 404
    code = "unknown_sfu"
    title = "No such SFU"


class AddressLeased(Refused):
    """A living SFU has registered this address with another key."""

    status = 409
    code = "address_leased"
    title = "Another SFU holds this address"


class TooManyFailures(Refused):
    """The caller's address has sent too many invalid credentials. Valid ones still pass."""

    status = 429
    code = "too_many_failures"
    title = "Too many invalid credentials"
    retry_after_seconds = 5


class RateLimited(Refused):
    """This SFU address sends heartbeats faster than the operator allows."""

    status = 429
    code = "rate_limited"
    title = "Too many heartbeats"
    retry_after_seconds = 1


class TenantLimitReached(Refused):
    """The tenant already has as many channels as it may have."""

    status = 429
    code = "tenant_limit"
    title = "The tenant's channel limit is reached"
    retry_after_seconds = 30


class ChannelNotPlaced(GatewayError):
    """A valid channel request ended without a channel."""


class RequestRefusedBySfu(ChannelNotPlaced):
    """Two SFUs, or the only one, refused this request equally, so the request is at fault, not the fleet."""

    status = 502
    code = "refused_by_sfu"
    title = "The SFUs refuse this request"


class NoneSelectable(ChannelNotPlaced):
    """No SFU takes this channel now."""

    def __init__(self, detail: str, *, epoch: str = "") -> None:
        """A snapshot with another `epoch` may be out of date; empty: unknown."""
        super().__init__(detail)
        self.epoch = epoch


class NoSfuAvailable(NoneSelectable):
    """No healthy SFU is registered that this request may use."""

    status = 503
    code = "no_sfu"
    title = "No SFU is available"
    retry_after_seconds = 10


class Overloaded(NoneSelectable):
    """Every healthy SFU is above a load threshold."""

    status = 503
    code = "overloaded"
    title = "All SFUs are at capacity"
    retry_after_seconds = 10


class ReplicaBusy(ChannelNotPlaced):
    """This replica is at its limit; the SFUs may be idle."""

    status = 503
    code = "overloaded"
    title = "This replica is at capacity"
    retry_after_seconds = 1


class ViewersFull(ChannelNotPlaced):
    """This replica, or this caller, has the maximum of event streams."""

    status = 503
    code = "too_many_viewers"
    title = "Too many event streams"
    retry_after_seconds = 10


class AllSfusFailed(ChannelNotPlaced):
    """Every SFU that was tried failed."""

    status = 503
    code = "all_failed"
    title = "Every SFU tried has failed"
    retry_after_seconds = 5


class ReplicaFault(ChannelNotPlaced):
    """This replica could ask no SFU: its resolver, its network, its limits or its sealing keys are at fault."""

    status = 503
    code = "replica_fault"
    title = "This replica cannot ask the SFUs"
    retry_after_seconds = 5


class DeadlineExceeded(ChannelNotPlaced):
    """Time ran out before any SFU answered."""

    status = 503
    code = "deadline"
    title = "No SFU answered in time"
    retry_after_seconds = 5


class RegistryUnavailable(ChannelNotPlaced):
    """Redis does not answer, and the request needs it."""

    status = 503
    code = "store_unavailable"
    title = "The registry is not available"
    retry_after_seconds = 5
