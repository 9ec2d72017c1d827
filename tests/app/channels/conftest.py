"""A gateway without SFUs, on a Redis in this process."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

from app.upstream.addresses import AddressGuard
from app.upstream.client import Forwarder
from tests.app.channels.gateway import Gateway
from tests.lua.fleet import Fleet
from tests.support.engines import fake_engine


@pytest.fixture
async def embedded() -> AsyncIterator[Redis]:
    """A Redis in this process."""
    async with fake_engine().connect() as client:
        yield client


@pytest.fixture
async def gateway(embedded: Redis) -> AsyncIterator[Gateway]:
    """A gateway without SFUs yet."""
    async with AsyncExitStack() as stack:
        forwarder = await stack.enter_async_context(Forwarder(AddressGuard()))
        yield Gateway(Fleet(embedded), forwarder, stack)
