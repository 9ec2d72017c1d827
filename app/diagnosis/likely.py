"""What probably explains an SFU's last error. The texts are those of `app.upstream.client.ForwardError`."""

import re
from typing import Final

_KEY_500: Final = r"answered 500\b"
_NO_SFU: Final = "probably the address: another server than an SFU answers there"
_CLOCK: Final = (r"its clock is", "probably the clock of the SFU or of the gateway: run NTP on both")
_SIGNS: Final = (
    _CLOCK,
    (r"answered (401|403)\b", "probably AUTH_KEY: the SFU's is not that of its heartbeats, or its clock is off"),
    (r"answered (404|405|410|421)\b", _NO_SFU),
    (_KEY_500, "probably AUTH_KEY: an Odoo SFU answers 500 to another key; else see the SFU's log"),
    (r"answered 5\d\d\b", "an error in the SFU, see its log"),
    (r"answered 4\d\d\b", "the SFU refuses the request, see its log"),
    (r"unseal", "this replica lacks a sealing key (sealing.keys)"),
    (r"name does not exist|no permitted address|not allowed|not the URL", "probably the address (PUBLIC_IP, PORT)"),
    (r"looked up", "the gateway's DNS resolver does not answer"),
    (r"refused", "nothing listens there: the SFU is down, or its port differs"),
    (r"TLS: wrong version number", "https where the SFU speaks http: probably the address (SFU_ADDRESS)"),
    (r"certificate|SSL|TLS", "probably the SFU's certificate"),
    (r"no connection|unreachable|No route", "probably a firewall between gateway and SFU, or a host that is down"),
    (r"did not answer within", "the SFU hangs, or is too slow"),
    (r"connection ended|reset|Reset", "the SFU, or a proxy before it, ends connections"),
    (r"not JSON|without uuid|cannot be used|statistics", _NO_SFU),
)  # fmt: skip

_BY_REASON: Final = {
    "misconfigured": "probably AUTH_KEY: the SFU's is not that of its heartbeats",
    "expired": "its process, its host or the network between has failed",
    "unreachable": "its process or its host has failed",
}


def likely_reason(last_error: str, reason: str, *, has_calls: bool = False) -> str:
    """Return what probably explains `last_error` of an SFU whose state has `reason`; empty for nothing known.

    An SFU that has calls has the right key.
    """
    if reason in _BY_REASON and not re.search(_CLOCK[0], last_error):
        return _BY_REASON[reason]
    signs = ((sign, likely) for sign, likely in _SIGNS if sign != _KEY_500 or not has_calls)
    return next((likely for sign, likely in signs if re.search(sign, last_error)), "")
