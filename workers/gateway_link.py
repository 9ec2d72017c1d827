"""The way from an SFU to its gateways: where they are, and how one heartbeat is sent to one of them.

What is imported here, the agent has in its memory: no cryptography library, no second HTTP client.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from app.crypto.tokens import Key
from app.upstream.client import Forwarder, ForwardError

Payload: TypeAlias = dict[str, Any]
Post: TypeAlias = Callable[[str, Payload, Mapping[str, str]], Awaitable[Any]]
"""Sends a payload with headers to a URL and returns the JSON of a 200; raises `HeartbeatFailed`."""


class HeartbeatFailed(Exception):
    """No heartbeat was taken: a gateway did not answer or refused, or there is nothing to report.

    Where a gateway refused, `status` and `code` are its answer's, and `clock_difference_s` is by how many seconds
    the clock of this machine is ahead of the gateway's, where the gateway said so.
    """

    def __init__(
        self, detail: str, status: int | None = None, code: str = "", clock_difference_s: int | None = None
    ) -> None:
        """`detail` must be free of secrets."""
        super().__init__(detail)
        self.status = status
        self.code = code
        self.clock_difference_s = clock_difference_s


@dataclass(frozen=True, slots=True)
class GatewayLink:
    """How to reach the gateways: base URLs in order of preference, the transport, the key that signs."""

    urls: tuple[str, ...]
    post: Post
    registration_key: Key | None = None
    ping_interval_ms: float = 10_000


def posting(client: Forwarder, timeout_s: float) -> Post:
    """Return a transport over `client`; one heartbeat to one gateway takes at most `timeout_s` seconds."""

    async def post(url: str, payload: Payload, headers: Mapping[str, str]) -> Any:
        parts = urlsplit(url)
        try:
            status, body, _ = await client.request(
                "POST",
                f"{parts.scheme}://{parts.netloc}",
                parts.path,
                timeout_s,
                headers=(("Content-Type", "application/json"), *headers.items()),
                data=json.dumps(payload).encode(),
            )
        except ForwardError as error:
            raise HeartbeatFailed(f"{url} {error}") from error
        reply = _json(body)
        if status != 200:
            raise _refusal(url, status, reply if isinstance(reply, dict) else {})
        if reply is None:
            raise HeartbeatFailed(f"{url} did not answer as a gateway")
        return reply

    return post


def _refusal(url: str, status: int, problem: dict[str, Any]) -> HeartbeatFailed:
    """What a gateway refused. Nothing but its code and the clocks is shown: the rest could repeat what was sent."""
    code, difference = problem.get("code"), problem.get("clockDifferenceSeconds")
    is_code = isinstance(code, str) and len(code) <= 32 and code.replace("_", "").isalpha() and code.islower()
    shown = str(code) if is_code else ""
    detail = f"{url} answered {status}" + (f" ({shown})" if shown else "")
    if not isinstance(difference, int) or isinstance(difference, bool):
        return HeartbeatFailed(detail, status, shown)
    direction = "behind" if difference < 0 else "ahead of"
    detail += f": the clock of this machine is {abs(difference)} s {direction} the gateway's"
    return HeartbeatFailed(detail, status, shown, difference)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
