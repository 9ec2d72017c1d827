"""An SFU as it is played against a gateway: it always says that it is full or drains, so that a gateway in use
sends it no call, and it signs off at the end.
"""

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import httpx

from app.crypto.hs256 import encode_part
from app.crypto.tokens import Key
from workers.conformance.clause import Violated, json_of, new_client, require_status

TOKEN_LIFE_SECONDS: Final = 60

_ASK_AGAIN: Final = 25
_ASK_AGAIN_S: Final = 0.2


class PlayedSfu:
    """One SFU with a new key, as a gateway sees it."""

    def __init__(
        self, client: httpx.AsyncClient, address: str, registration_key: Key, clock: Callable[[], float]
    ) -> None:
        """`clock` is in seconds."""
        self.address = address
        self.key = new_key()
        self._client = client
        self._registration_key = registration_key
        self._clock = clock

    def report(self, **changes: Any) -> dict[str, Any]:
        """Return the heartbeat of a full SFU, with `changes`; a field of None is left out."""
        full = {
            "status": "up",
            "address": self.address,
            "region": "conformance",
            "key": self.key.to_base64(),
            "channels": 1,
            "sessions": 1,
            "maxSessions": 1,
            "cpuUsage": 1.0,
            "memoryUsage": 1.0,
        }
        return {name: value for name, value in (full | changes).items() if value is not None}

    def token(self, key: Key | None = None, **claims: Any) -> str:
        """Return a token that is good unless `key` or `claims` say otherwise; a claim of None is left out."""
        now = int(self._clock())
        every = {"sub": self.address, "iat": now, "exp": now + TOKEN_LIFE_SECONDS} | claims
        present = {name: value for name, value in every.items() if value is not None}
        return (key or self._registration_key).sign(present)

    def in_seconds(self, seconds: float) -> int:
        """Return the time that far ahead, as a claim."""
        return int(self._clock() + seconds)

    async def send(self, body: dict[str, Any] | bytes, token: str | None = None) -> httpx.Response:
        """Send `body` as a heartbeat, with a good token unless there is another one; "" sends none."""
        headers = {"Content-Type": "application/json"}
        if token != "":
            headers["Authorization"] = f"Bearer {token or self.token()}"
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self._client.post("/v1/sfu", content=raw, headers=headers)

    async def register(self, **changes: Any) -> dict[str, Any]:
        """Send a heartbeat that must be taken, and return the reply. Raises `Violated`."""
        answer = await self.send(self.report(**changes))
        require_status(answer, 200)
        return object_of(answer)

    async def listed(
        self, is_expected: Callable[[dict[str, Any] | None], bool] = lambda _: True
    ) -> dict[str, Any] | None:
        """Return the SFU's entry in `GET /v1/health`, `None` when it has none. Raises `Violated`.

        The gateway computes the document for all who ask within a second or more, so an entry that is not as
        expected is asked for again, for up to 5 s.
        """
        entry = await self._entry()
        for _ in range(_ASK_AGAIN):
            if is_expected(entry):
                break
            await asyncio.sleep(_ASK_AGAIN_S)
            entry = await self._entry()
        return entry

    async def _entry(self) -> dict[str, Any] | None:
        answer = await self._client.get("/v1/health", headers={"Accept": "application/json"})
        require_status(answer, 200, 503)
        for entry in object_of(answer).get("sfus", []):
            if entry.get("address") == self.address:
                return dict(entry)
        return None


@contextlib.asynccontextmanager
async def playing_sfu(
    url: str, registration_key: Key, address: str = "", *, clock: Callable[[], float] = time.time
) -> AsyncIterator[PlayedSfu]:
    """Play an SFU against the gateway at `url`, and leave nothing registered.

    `address` is what it registers; the default is a host name that does not exist.
    """
    address = address or new_address()
    async with new_client(url) as client:
        sfu = PlayedSfu(client, address, registration_key, clock)
        try:
            yield sfu
        finally:
            await _sign_off(sfu)


async def _sign_off(sfu: PlayedSfu) -> None:
    try:
        await sfu.send(sfu.report(status="down"))
    except httpx.HTTPError:
        return  # the clause has failed already; a gateway that is away forgets by itself


async def forget(url: str, address: str, admin_token: str) -> None:
    """Have the gateway remove every trace of a played SFU. Fails open: it forgets by itself after a while."""
    headers = {"Authorization": f"Bearer {admin_token}"}
    async with new_client(url) as client:
        with contextlib.suppress(httpx.HTTPError):
            await client.post("/v1/admin/sfus/forget", json={"address": address}, headers=headers)


def new_address() -> str:
    """Return an address that leads nowhere."""
    return f"http://conformance-{secrets.token_hex(6)}.invalid:8070"


def object_of(answer: httpx.Response) -> dict[str, Any]:
    """Return the JSON object of `answer`. Raises `Violated`."""
    document = json_of(answer)
    if not isinstance(document, dict):
        raise Violated("answered something that is not a JSON object")
    return document


def unsigned(token: str) -> str:
    """Return `token` with the algorithm `none` and an empty signature."""
    header = encode_part(b'{"typ":"JWT","alg":"none"}')
    return f"{header}.{token.split('.')[1]}."


def new_key() -> Key:
    return Key(secrets.token_bytes(32))
