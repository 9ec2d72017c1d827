"""claim_probes.lua: which SFUs a sweeper is to probe now."""

from tests.lua.fleet import A, B, C, D, Fleet


async def test_each_is_handed_out_once_per_lease(fleet: Fleet) -> None:
    for address in (A, B, C, D):
        await fleet.beat(address)
    await fleet.fail(A, times=5)
    fleet.wait(10_000)
    await fleet.fail(B, times=5)
    fleet.wait(20_000)
    assert await fleet.registry.claim_probes(5_000) == [A]
    assert await fleet.registry.claim_probes(5_000) == []
    fleet.wait(5_000)
    assert await fleet.registry.claim_probes(10_000) == [A]
    fleet.wait(5_000)
    assert await fleet.registry.claim_probes(5_000) == [B]


async def test_a_heartbeat_does_not_hand_out_what_is_being_probed(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.fail(A, times=5)
    fleet.wait(30_000)
    await fleet.registry.claim_probes(5_000)
    await fleet.beat(A)
    assert await fleet.registry.claim_probes(5_000) == []


async def test_a_sweeper_takes_a_few_at_a_time(fleet: Fleet) -> None:
    addresses = {f"http://{number}.test" for number in range(30)}
    await fleet.client.zadd(fleet.keys.probes, dict.fromkeys(addresses, fleet.now_ms))
    first = await fleet.registry.claim_probes(5_000)
    rest = await fleet.registry.claim_probes(5_000)
    assert (len(first), len(rest), {*first, *rest}) == (25, 5, addresses)
