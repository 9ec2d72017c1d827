"""The message to Odoo and its answer. The contract is in docs/rescue.md."""

import json
import secrets
from collections.abc import Collection
from typing import Any, Final, cast, get_args

from app.crypto.tokens import Key
from app.registry.losses import Reason, RescueResult

ROUTE: Final = "/sfu_gateway/rescue"
MAX_UUIDS: Final = 50
MAX_UUID_CHARACTERS: Final = 64

_LIFE_S: Final = 60
_ANSWERS: Final = frozenset(get_args(RescueResult)) - {"failed"}


def rescue_token(key: Key, reason: Reason, uuids: Collection[str], *, available: bool, now: float) -> str:
    """Return the body of a message: a JWT that expires a minute after `now`, seconds since the epoch."""
    return key.sign(
        {
            "iss": "sfu-gateway",
            "aud": "sfu-gateway-rescue",
            "exp": int(now) + _LIFE_S,
            "jti": secrets.token_hex(16),
            "reason": reason,
            "uuids": list(uuids),
            "available": available,
        }
    )


def results_in(body: bytes) -> dict[str, RescueResult]:
    """Return the result per uuid. Unknown results and members are ignored.

    Raises:
        ValueError: not an answer of the addon.
    """
    try:
        document: Any = json.loads(body)
    except RecursionError:
        raise ValueError("not the addon's answer") from None
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(results, dict):
        raise ValueError("not the addon's answer")
    return {
        uuid: cast("RescueResult", result)
        for uuid, result in results.items()
        if isinstance(result, str) and result in _ANSWERS
    }
