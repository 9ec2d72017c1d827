"""Calls and placements of which a test cares about one or two facts."""

from typing import Any

from app.registry.placements import CallId, Placement


def call_id(issuer: str = "issuer", *, tenant: str = "default", channel_key_fingerprint: str = "") -> CallId:
    """Return an issuer of the default tenant, without a channel key."""
    return CallId(tenant, issuer, channel_key_fingerprint)


def placed_at(address: str, **facts: Any) -> Placement:
    """Return a new placement at an SFU in `eu`, locked by its request."""
    new: dict[str, Any] = {
        "region": "eu",
        "sealed_key": "",
        "public_url": "",
        "reason": "least-load",
        "is_locked": True,
        "uuid": "",
    }
    return Placement(address, **new | facts)
