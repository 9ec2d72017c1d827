"""The gateway as it is, but for its HTTP client: one stock `httpx.AsyncClient` forwards to the SFUs.

`python -m tests.bench.httpx_variant serve` is `sfu-gateway serve` in all other respects. It says what a carefully
chosen client is worth, in place and not in isolation.
"""

import json
from collections.abc import Sequence
from typing import Final, Self

import httpx

import app.main
from app.cli.main import cli
from app.upstream.addresses import AddressGuard
from app.upstream.client import Channel, ForwardError

MOST_CONNECTIONS: Final = 2_000
"""httpx stops at 100, and keeps 20, unless told otherwise; then it would be a queue that is measured."""


class HttpxForwarder:
    """What `app.upstream.client.Forwarder` offers, by httpx."""

    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard
        self._client = httpx.AsyncClient(
            limits=httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def create_channel(
        self,
        address: str,
        *,
        token: str,
        client: str,
        public_url: str,
        query: Sequence[tuple[str, str]],
        timeout_s: float,
    ) -> Channel:
        """Ask an SFU for a channel. Raises `ForwardError`."""
        del public_url  # the SFUs of the benchmark have none
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": client}
        answer = await self._request("GET", f"{address}/v1/channel", timeout_s, headers, tuple(query))
        document = json.loads(answer)
        return Channel(document["uuid"], document["url"])

    async def disconnect(self, address: str, *, token: str, client: str, timeout_s: float) -> None:
        """Post a disconnect. Raises `ForwardError`."""
        headers = {"X-Forwarded-For": client}
        await self._request("POST", f"{address}/v1/disconnect", timeout_s, headers, content=token.encode())

    async def probe(self, address: str, timeout_s: float) -> bool:
        """Whether an SFU answers."""
        try:
            await self._request("GET", f"{address}/v1/noop", timeout_s)
        except ForwardError:
            return False
        return True

    async def stats(self, address: str, timeout_s: float) -> object:
        """Return the parsed `/v1/stats`. Raises `ForwardError`."""
        return json.loads(await self._request("GET", f"{address}/v1/stats", timeout_s))

    async def _request(
        self,
        method: str,
        url: str,
        timeout_s: float,
        headers: dict[str, str] | None = None,
        query: tuple[tuple[str, str], ...] = (),
        content: bytes | None = None,
    ) -> bytes:
        self._guard.check(url[: url.index("/", len("https://"))])
        try:
            answer = await self._client.request(
                method, url, params=query or None, headers=headers, content=content, timeout=timeout_s
            )
        except httpx.HTTPError as error:
            raise ForwardError(f"cannot be reached: {type(error).__name__}") from error
        if not answer.is_success:
            raise ForwardError(f"answered {answer.status_code}", answer.status_code)
        return answer.content


def main() -> None:
    """Run the gateway's command line on the other forwarder."""
    # Not a setting of the gateway: nobody should want this but for comparison.
    vars(app.main)["Forwarder"] = HttpxForwarder
    cli()


if __name__ == "__main__":
    main()
