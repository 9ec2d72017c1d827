"""The context of a request: its id, its caller, and the notes for its log line."""

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.types import Scope

from app.settings.trusted_proxies import TrustedProxies
from app.upstream.addresses import parse_ip, unmapped

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NOTES: Final = "log_notes"


def note(scope: Scope, **fields: Any) -> None:
    """Add `fields` to the request's log line. Never a key or a token."""
    scope.setdefault(_NOTES, {}).update(fields)


def notes_of(scope: Scope) -> Mapping[str, Any]:
    """Return all notes about the request."""
    notes: Mapping[str, Any] = scope.get(_NOTES, {})
    return notes


def noted(scope: Scope, name: str) -> Any:
    """Return the note `name` about the request, or `None`."""
    return scope.get(_NOTES, {}).get(name)


def request_id_of(scope: Scope) -> str:
    """Return the id of the request: the caller's `X-Request-Id` if it is valid, else a new id."""
    if "request_id" not in scope:
        given = header_of(scope, b"x-request-id")
        scope["request_id"] = given if _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
    return str(scope["request_id"])


def header_of(scope: Scope, name: bytes) -> str:
    """Return the request's first header with the lower-case `name`, or an empty text."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return ""


def caller_of(scope: Scope, trusted: TrustedProxies) -> str:
    """Return the unit of rate limits: an IPv4 address, or the /64 network of an IPv6 address."""
    client = client_of(scope, trusted)
    ip = parse_ip(client)
    if ip is None:
        return client
    return str(ip) if ip.version == 4 else str(ipaddress.IPv6Address(int(ip) >> 64 << 64))


def client_of(scope: Scope, trusted: TrustedProxies) -> str:
    """Return the address of the caller of the request in `scope`."""
    peer = str(scope["client"][0]) if scope.get("client") else "0.0.0.0"  # noqa: S104 - a Unix socket has no address
    peer = peer.partition("%")[0]  # a zone is local to this host
    # A socket of both families writes IPv4 addresses so. SFUs tell callers apart by the text.
    if peer.startswith("::ffff:") and (ip := parse_ip(peer)):
        peer = str(unmapped(ip))
    if trusted.is_empty:
        return peer
    forwarded_for = ",".join(Headers(scope=scope).getlist("x-forwarded-for"))
    return trusted.client_of(peer, forwarded_for)
