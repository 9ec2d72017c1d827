"""The names of keys: one prefix per fleet, the same in Lua and in Python."""

from collections.abc import Callable
from pathlib import Path

from redis.asyncio import Redis

from app.registry.keys import Keys
from app.registry.scripts import ScriptRunner, load_script
from tests.lua.fleet import KEY, A, B, C, D, E, F, Fleet


async def test_lua_and_python_build_the_same_names(redis: Redis) -> None:
    keys = Keys("fleet-1")
    script = load_script("keys", Path(__file__).parent)
    runner = ScriptRunner(redis, keys.prefix, timeout_s=10)
    assert await runner.run(script, A, "eu", "tenant", "https://odoo:channel:7", "uuid") == [
        keys.node(A),
        keys.sfus,
        keys.deadlines,
        keys.lost,
        keys.drains,
        keys.returning,
        keys.fleet,
        keys.events,
        keys.load(),
        keys.load("eu"),
        keys.round_robin(),
        keys.round_robin("eu"),
        keys.ejected(),
        keys.ejected("eu"),
        keys.overloaded(),
        keys.overloaded("eu"),
        keys.placement("tenant", "https://odoo:channel:7"),
        keys.attempts,
        keys.attempt("id:1"),
        keys.tenant("tenant"),
        keys.channel("uuid"),
        keys.calls(A),
        keys.expiry_suspended_until,
        keys.confirmations,
        keys.sweeper,
    ]


async def live(fleet: Fleet) -> None:
    """Let a fleet come by every key there is."""
    registry = fleet.registry
    for address in (A, C, D, E):
        await fleet.beat(address)
    await fleet.beat(F)
    await fleet.beat(B, cpu=1.0)
    await fleet.place("first", max_placements=5)
    await fleet.select("locked")
    await fleet.fail(A, times=5)
    await registry.sweeps.claim_probes(1_000)
    await registry.sweeps.probe(A, answered=False)
    await registry.fleet.drain(D, deadline_ms=60_000)
    await registry.registrations.sign_off(C, KEY)
    await fleet.confirm(E, "confirmed")
    await fleet.report("failed", E, "unknown")
    await registry.sweeps.acquire_lease("sweeper", 60_000)
    await registry.outbox.commit_cursor("sweeper", "1-0")


async def test_every_key_starts_with_the_prefix(fleet: Fleet) -> None:
    await live(fleet)
    names = list(await fleet.dump())
    kinds = {name.removeprefix("{sfu}:").partition(":")[0] for name in names}
    assert all(name.startswith("{sfu}:") for name in names)
    assert kinds == {
        *("node", "sfus", "deadlines", "lost", "drains", "returning", "fleet", "events"),
        *("load", "round_robin", "ejected", "overloaded", "placement", "attempts", "attempt"),
        *("tenant", "channel", "calls", "confirmations", "sweeper"),
    }


async def test_what_grows_with_the_calls_has_an_end(fleet: Fleet, redis: Redis) -> None:
    await live(fleet)
    for kind in ("placement", "channel", "tenant", "attempt"):
        names = await fleet.dump(f"{{sfu}}:{kind}:*")
        assert names
        assert all([await redis.pttl(name) > 0 for name in names])


async def test_two_fleets_do_not_touch_each_other(make_fleet: Callable[..., Fleet]) -> None:
    one, other = make_fleet(namespace="one"), make_fleet(namespace="other")
    await live(one)
    before = await one.dump()
    assert await other.registry.fleet.sfus() == []
    await live(other)
    other.wait(30_000)
    await other.registry.sweeps.expire()
    await other.registry.sweeps.reap()
    await other.registry.sweeps.finish_drains()
    other.wait(600_000)
    await other.registry.sweeps.expire()
    for address in (A, B):
        await other.beat(address)
        await other.registry.fleet.forget(address)
    assert await one.dump("{one}:*") == before
