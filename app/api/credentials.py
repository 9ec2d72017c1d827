"""Credentials of requests. They are verified before a request takes a place; failures are counted by caller."""

import hmac
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from starlette.requests import Request
from starlette.types import Scope

from app.api.request_context import caller_of, header_of
from app.api.state import State
from app.auth.tenants import Caller
from app.channels.disconnects import DisconnectOrder, DisconnectRefused
from app.crypto.claims import Claims
from app.crypto.tokens import bearer_token
from app.errors import CredentialsInvalid, GatewayError, RouteClosed, TooManyFailures


def verify_channel(request: Request[State]) -> Caller:
    """Return the verified caller of a channel request. Raises as `Tenants.verify`, or `TooManyFailures`."""
    try:
        state: State = request.scope["state"]
        token = bearer_token(header_of(request.scope, b"authorization"))
        with state["observer"].phase("verify"):
            return state["tenants"].verify(token)
    except CredentialsInvalid as error:
        _refuse(request, error)


def verify_registration(request: Request[State]) -> Claims:
    """Return the claims of a heartbeat's token. Raises as `Registration.authenticate`, or `TooManyFailures`."""
    try:
        state: State = request.scope["state"]
        return state["registration"].authenticate(header_of(request.scope, b"authorization"))
    except CredentialsInvalid as error:
        _refuse(request, error)


def verify_disconnect(request: Request[State], token: str) -> DisconnectOrder:
    """Return what a disconnect's token orders. Raises `DisconnectRefused` or `TooManyFailures`."""
    try:
        return request.state["disconnects"].read(token)
    except DisconnectRefused as error:
        if isinstance(error.__cause__, CredentialsInvalid):
            _refuse(request, error)
        raise


def verify_admin(request: Request[State]) -> None:
    """Verify the admin token.

    Raises:
        RouteClosed: the operator has set no admin token.
        CredentialsMissing, CredentialsInvalid, TooManyFailures: no token, or another one.
    """
    token = request.state["settings"].admin_token
    if token is None:
        raise RouteClosed("set admin_token to open the operators' routes")
    given = bearer_token(header_of(request.scope, b"authorization"))
    if not hmac.compare_digest(given.encode(), token.get_secret_value().encode()):
        _refuse(request, CredentialsInvalid("this is not the admin token"))


def is_credible(state: Mapping[str, Any], path: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request whose body is still to come has a valid credential in its `headers`, or none there."""
    scope: Scope = {"headers": headers}
    authorization = header_of(scope, b"authorization")
    try:
        if path.endswith("/v1/channel"):
            state["tenants"].verify(bearer_token(authorization))
        elif path.endswith("/v1/sfu"):
            state["registration"].authenticate(authorization)
    except GatewayError:
        return False
    return True


def _refuse(request: Request[State], error: GatewayError) -> NoReturn:
    caller = caller_of(request.scope, request.state["settings"].trust_proxy)
    if request.state["failed_logins"].note(caller):
        raise TooManyFailures("credentials from this address were not valid too often") from error
    raise error
