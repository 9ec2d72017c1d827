"""What the tests of simulated SFUs share: a key, tokens as Odoo makes them, a running SFU, a clock to set."""

import contextlib
import time
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import httpx

from app.crypto.tokens import Key
from tests.support.plain_http import NO_CERTIFICATES
from workers.simulator.channels import People
from workers.simulator.sfu import SfuConfig, SimulatedSfu

KEY = Key(b"the key of this SFU and no other")
NO_PEOPLE = People(per_channel=0)


class Clock:
    """Seconds since the epoch, moved by hand."""

    def __init__(self, now: float = 1_750_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def token(key: Key = KEY, /, **claims: Any) -> str:
    """Return a token that is good for 30 s unless `claims` say otherwise; a claim of None is left out."""
    every = {"iss": "https://odoo.example:channel:7", "exp": int(time.time()) + 30} | claims
    return key.sign({name: value for name, value in every.items() if value is not None})


def bearing(jwt: str, **headers: str) -> dict[str, str]:
    """Return request headers with `jwt` in the way of Odoo up to 19."""
    return {"Authorization": f"jwt {jwt}", **headers}


@contextlib.asynccontextmanager
async def running_sfu(
    config: SfuConfig | None = None,
) -> AsyncIterator[tuple[SimulatedSfu, httpx.AsyncClient]]:
    """Run one SFU without a gateway, and give a client whose base URL it is."""
    config = config or SfuConfig(key=KEY, region="eu-west", people=NO_PEOPLE)
    sfu = SimulatedSfu(config, random=Random(1), clock=time.time)
    await sfu.start()
    try:
        async with httpx.AsyncClient(base_url=sfu.address, trust_env=False, verify=NO_CERTIFICATES) as client:
            yield sfu, client
    finally:
        await sfu.stop()
