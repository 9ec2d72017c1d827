"""SFUs as a registry lists them, for tests that need no registry."""

from typing import Final

from app.registry.sfus import SfuStatus

SFU: Final = SfuStatus(
    address="http://sfu1:8070",
    region="eu-west",
    state="up",
    standing="selectable",
    breaker="closed",
    generation=1,
    heartbeat_age_ms=0,
    load=0.25,
    sessions=40,
    channels=8,
)
"""One that is well."""
