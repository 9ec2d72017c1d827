"""The gateway's message, sent by the trial itself as long as a gateway does not send it (`--send-rescue`)."""

import secrets
import time
from typing import Final

import aiohttp

from app.crypto.tokens import Key

ROUTE: Final = "/sfu_gateway/rescue"


def rescue_token(key: Key, uuids: list[str], reason: str, *, available: bool, now: float) -> str:
    """Return the body of a rescue message: docs/rescue.md, "The message"."""
    return key.sign(
        {
            "aud": "sfu-gateway-rescue",
            "iss": "sfu-gateway",
            "exp": int(now) + 60,
            "jti": secrets.token_urlsafe(12),
            "reason": reason,
            "uuids": uuids,
            "available": available,
        }
    )


async def send_rescue(odoo_url: str, key: Key, uuid: str, reason: str) -> str:
    """Send a message for one call, and return Odoo's answer as text."""
    token = rescue_token(key, [uuid], reason, available=True, now=time.time())
    headers = {"Content-Type": "application/jwt"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{odoo_url.rstrip('/')}{ROUTE}", data=token, headers=headers) as answer,
    ):
        return f"{answer.status} {(await answer.text()).strip()}"
