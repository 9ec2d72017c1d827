"""SFUs as a registry lists them, for tests that need no registry."""

from typing import Final

from app.registry.sfus import SfuStatus

SFU: Final = SfuStatus(
    address="http://sfu1:8070",
    region="eu-west",
    state="selectable",
    breaker="closed",
    generation=1,
    heartbeat_age_ms=0,
    load=0.25,
    sessions=40,
    channels=8,
)
"""One that is well."""

UNTROUBLED: Final = {
    "state": "selectable",
    "reason": "",
    "errors": 0,
    "lastError": "",
    "lastErrorAt": 0,
    "sharedAddress": False,
    "warnings": [],
}
"""What `/v1/health` says of the troubles of an SFU that has none."""
