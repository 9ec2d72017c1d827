"""A replica in this process: its application with the lifespan running, and an HTTP client of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.types import Receive, Scope, Send

from app.main import create_app
from app.registry.client import close_client, embedded_client
from app.registry.scripts import RedisClient
from app.settings.model import Settings

PEER = ("192.0.2.7", 4711)
"""Where the client's requests seem to come from."""


@asynccontextmanager
async def running_app(
    settings: Settings, redis: RedisClient | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """Run a replica on `redis`, or on an empty one of its own, and give a client of it.

    An unexpected error is answered as by a server, with 500, and not raised into the test. Answers are
    buffered whole: no server-sent events here.
    """
    client_of_redis = embedded_client() if redis is None else redis
    app = create_app(settings, redis=client_of_redis)
    try:
        async with app.router.lifespan_context(app) as state:

            async def serve(scope: Scope, receive: Receive, send: Send) -> None:
                await app({**scope, "state": dict(state or {})}, receive, send)

            transport = httpx.ASGITransport(serve, raise_app_exceptions=False, client=PEER)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                yield client
    finally:
        if redis is None:
            await close_client(client_of_redis)
