"""Disconnects: each SFU is told of its own sessions, in its own words."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from app.auth.tenants import Tenant, Tenants
from app.channels.disconnects import Disconnected, DisconnectRefused, Disconnects
from app.crypto.claims import MAX_DISCONNECT_CHANNELS
from app.crypto.tokens import SFU_TOKEN_LIFE_SECONDS, Key
from app.errors import RegistryUnavailable
from app.registry.placements import ChannelOwner
from app.settings.model import Settings
from app.upstream.addresses import AddressGuard
from app.upstream.client import Forwarder
from tests.lua.fleet import Fleet
from tests.support.apps import running_app
from tests.support.engines import fake_engine
from tests.support.simulated import NO_PEOPLE, Clock, running_sfu
from workers.simulator.faults import Hang, Refuse, Status
from workers.simulator.sfu import SfuConfig, SimulatedSfu

GATEWAY_KEY = Key(b"the key that Odoo and the gateway share")
CLIENT = "192.0.2.7"


@dataclass
class Gateway:
    """Two SFUs with a channel each, `first` and `second`, and who forwards disconnects to them."""

    fleet: Fleet
    disconnects: Disconnects
    sfus: list[SimulatedSfu]

    async def forward(self, sessions: Any, key: Key = GATEWAY_KEY, **claims: Any) -> Disconnected:
        """A disconnect as Odoo sends it."""
        now = int(Clock().now)
        token = key.sign({"sessionIdsByChannel": sessions, "exp": now + 20} | claims)
        return await self.disconnects.forward(self.disconnects.read(token), CLIENT)

    def told(self) -> list[list[Any]]:
        """The sessions that each SFU was told to end, by its requests."""
        return [[call.claims.get("sessionIdsByChannel") for call in sfu.calls] for sfu in self.sfus]


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """A gateway at a fixed time, as the SFUs' clocks have it."""
    clock = Clock()
    async with AsyncExitStack() as stack:
        fleet = Fleet(await stack.enter_async_context(fake_engine().connect()))
        forwarder = await stack.enter_async_context(Forwarder(AddressGuard()))
        sfus = []
        for name in ("first", "second"):
            config = SfuConfig(Key(f"the key of the {name} SFU alone".encode()), people=NO_PEOPLE, proxy=True)
            sfu, _ = await stack.enter_async_context(running_sfu(config))
            sfu.api._clock = clock  # noqa: SLF001
            await fleet.beat(sfu.address, key=config.key)
            await fleet.confirm(sfu.address, name, uuid=name)
            sfus.append(sfu)
        tenants = Tenants((Tenant("default", (GATEWAY_KEY,)),), clock)
        disconnects = Disconnects(tenants, fleet.registry, forwarder, timeout_s=0.3, clock=clock)
        yield Gateway(fleet, disconnects, sfus)


async def test_each_sfu_is_told_of_its_own_channels_and_nobody_of_unknown_ones(gateway: Gateway) -> None:
    done = await gateway.forward({"first": [1, 2], "second": [3], "unknown": [4]})
    assert done == Disconnected(sfus=2, failed=(), unknown=1)
    assert gateway.told() == [[{"first": [1, 2]}], [{"second": [3]}]]


async def test_the_token_is_signed_anew_with_other_claims_kept_and_the_caller_is_named(
    gateway: Gateway,
) -> None:
    await gateway.forward({"first": [1]}, future=True)
    [call] = gateway.sfus[0].calls
    expires = int(Clock().now) + SFU_TOKEN_LIFE_SECONDS
    assert call.claims == {"sessionIdsByChannel": {"first": [1]}, "exp": expires, "future": True}
    assert call.remote_address == CLIENT


@dataclass
class Directory:
    """A registry that knows whose channels are whose."""

    key: Key
    channels: dict[str, ChannelOwner]

    async def channel_owner(self, uuid: str) -> ChannelOwner | None:
        """Where a channel is."""
        return self.channels.get(uuid)

    async def key_of(self, _: str) -> Key | None:
        """The one key."""
        return self.key


async def test_a_tenant_reaches_its_own_channels_only_and_under_the_address_they_began_with() -> None:
    theirs = Key(b"the key of another tenant: 32 by")
    config = SfuConfig(Key(b"the key of the one SFU there is!"), people=NO_PEOPLE, proxy=True)
    tenants = Tenants((Tenant("default", (GATEWAY_KEY,)), Tenant("acme", (theirs,))), Clock())
    async with running_sfu(config) as (sfu, _), Forwarder(AddressGuard()) as forwarder:
        sfu.api._clock = Clock()  # noqa: SLF001
        directory = Directory(
            config.key,
            {
                "ours": ChannelOwner("default", sfu.address, "198.51.100.1"),
                "ours too": ChannelOwner("default", sfu.address, "198.51.100.2"),
                "theirs": ChannelOwner("acme", sfu.address, "198.51.100.3"),
            },
        )
        disconnects = Disconnects(tenants, directory, forwarder, timeout_s=3, clock=Clock())
        sessions = {"ours": [1], "ours too": [2], "theirs": [3]}
        claims = {"sessionIdsByChannel": sessions, "exp": int(Clock().now) + 20}
        assert await disconnects.forward(disconnects.read(GATEWAY_KEY.sign(claims)), CLIENT) == Disconnected(
            1, (), 1
        )
        told = {call.remote_address: call.claims["sessionIdsByChannel"] for call in sfu.calls}
        assert told == {"198.51.100.1": {"ours": [1]}, "198.51.100.2": {"ours too": [2]}}
        assert await disconnects.forward(disconnects.read(theirs.sign(claims)), CLIENT) == Disconnected(
            1, (), 2
        )
        assert sfu.calls[-1].claims["sessionIdsByChannel"] == {"theirs": [3]}


async def test_nothing_to_disconnect_tells_nobody(gateway: Gateway) -> None:
    assert await gateway.forward({}) == Disconnected(0, (), 0)
    assert gateway.told() == [[], []]


@pytest.mark.parametrize("fault", [Refuse(), Hang(), Status(status=422)])
async def test_an_sfu_that_cannot_be_told_does_not_keep_the_others_from_it(
    gateway: Gateway, fault: Refuse | Hang | Status
) -> None:
    first, _ = gateway.sfus
    await first.set_fault(fault)
    done = await gateway.forward({"first": [1], "second": [2]})
    assert done == Disconnected(sfus=1, failed=(first.address,), unknown=0)
    assert gateway.told()[1] == [{"second": [2]}]


async def test_an_sfu_that_has_gone_cannot_be_told(gateway: Gateway) -> None:
    first, _ = gateway.sfus
    await gateway.fleet.registry.registrations.sign_off(first.address, first.config.key)
    assert (await gateway.forward({"first": [1]})).failed == (first.address,)


async def test_an_sfu_whose_key_cannot_be_unsealed_cannot_be_told(gateway: Gateway) -> None:
    first, second = gateway.sfus
    node = gateway.fleet.keys.node(first.address)
    sealed_for_another = await gateway.fleet.client.hget(gateway.fleet.keys.node(second.address), "key")
    await gateway.fleet.client.hset(node, "key", sealed_for_another)
    assert (await gateway.forward({"first": [1], "second": [2]})).failed == (first.address,)


@pytest.mark.parametrize(
    "sessions",
    [None, [], "first", 5, {str(n): [] for n in range(MAX_DISCONNECT_CHANNELS + 1)}, {"first": [None]}],
)
async def test_what_names_no_sessions_is_refused(gateway: Gateway, sessions: object) -> None:
    with pytest.raises(DisconnectRefused):
        await gateway.forward(sessions)


async def test_only_who_has_a_gateway_key_may_disconnect_and_only_in_time(gateway: Gateway) -> None:
    with pytest.raises(DisconnectRefused):
        await gateway.forward({"first": [1]}, key=gateway.sfus[0].config.key)
    with pytest.raises(DisconnectRefused):
        await gateway.forward({"first": [1]}, exp=int(Clock().now))
    assert gateway.told() == [[], []]


async def test_without_redis_nobody_knows_where_the_channels_are(gateway: Gateway) -> None:
    gateway.fleet.client.connection_pool.connection_kwargs["server"].connected = False
    with pytest.raises(RegistryUnavailable):
        await gateway.forward({"first": [1]})


@pytest.mark.parametrize("body", [b"", b"no token", b"a.b.c", b"\xff\xfe", b"x" * 10_000])
async def test_a_bad_token_is_answered_as_sfus_answer_it(body: bytes) -> None:
    async with running_app(Settings(key=(GATEWAY_KEY,))) as client:
        answer = await client.post("/v1/disconnect", content=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "credentials_invalid")
