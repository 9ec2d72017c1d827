"""The requests that benchmarks send to a replica, made and signed before anything is measured."""

import base64
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from typing import Final

from app.crypto.tokens import Key
from tests.bench.http_load import Call
from tests.bench.rig import MAX_SESSIONS, SFU_KEY
from tests.journeys.deployment import GATEWAY_KEY, REGISTRATION_KEY

NOOP: Final = (Call("GET", "/noop"),)

_TOKEN_LIFE_S: Final = 280
_KEY: Final = Key.from_base64(GATEWAY_KEY)
_ISSUERS: Final[Iterator[int]] = itertools.count()


def channel_requests(count: int) -> list[Call]:
    """Return channel requests of issuers that nobody has heard of, each one a new placement.

    The claims are Odoo's from 18.0 on, the key of the channel among them.
    """
    expires = int(time.time()) + _TOKEN_LIFE_S
    numbers = itertools.islice(_ISSUERS, count)
    tokens = (
        _KEY.sign(
            {
                "iss": f"https://odoo.example.com:channel:{number}",
                "exp": expires,
                "key": base64.b64encode(number.to_bytes(32, "big")).decode(),
            }
        )
        for number in numbers
    )
    return [Call("GET", "/v1/channel", f"jwt {token}") for token in tokens]


def heartbeats(addresses: Sequence[str]) -> list[Call]:
    """Return a heartbeat of each registered SFU, with the room that it has."""
    token = Key.from_base64(REGISTRATION_KEY).sign({"exp": int(time.time()) + _TOKEN_LIFE_S})
    body = {"status": "up", "region": "eu-west", "key": SFU_KEY, "maxSessions": MAX_SESSIONS}
    figures = {"channels": 12, "sessions": 45, "cpuUsage": 0.35, "memoryUsage": 0.48}
    return [
        Call("POST", "/v1/sfu", f"Bearer {token}", json.dumps(body | figures | {"address": address}))
        for address in addresses
    ]
