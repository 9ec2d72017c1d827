"""confirm.lua: channels that replicas made without Redis. The later confirmation wins."""

from redis.asyncio import Redis

from app.registry.placements import ConfirmedPlacement, Placement, confirmation_facts, confirmed_placement
from tests.lua.fleet import KEY, A, B, Fleet
from tests.support.calls import call_id


async def test_the_issuer_keeps_its_sfu(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat(A, sessions=900)
    await fleet.beat(B)
    assert (await fleet.confirm(A)).is_placed
    fleet.wait(1_000)
    again = await fleet.select()
    assert (again.address, again.reason, again.uuid) == (A, "sticky", "channel of issuer")
    assert await fleet.owner_of("channel of issuer") == A
    assert await redis.pttl(fleet.keys.placement("default", "issuer")) > 0


async def test_the_sfu_counts_the_channel_once(fleet: Fleet) -> None:
    await fleet.beat()
    for _ in range(3):
        await fleet.confirm()
    assert await fleet.reserved() == 4


async def test_the_later_confirmation_wins(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.place()
    await fleet.beat(B)
    fleet.wait(5_000)
    assert not (await fleet.confirm(B, age_ms=6_000)).is_placed
    assert (await fleet.select(id="one")).address == A
    assert (await fleet.confirm(B, age_ms=4_000)).is_placed
    assert (await fleet.select(id="two")).address == B


async def test_the_older_one_wins_when_the_sfu_of_the_later_has_gone(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.place()
    await fleet.beat(B)
    fleet.wait(5_000)
    await fleet.registry.registrations.sign_off(A, KEY)
    assert (await fleet.confirm(B, age_ms=6_000)).is_placed


async def test_it_ends_the_lock_of_a_request_that_has_created_nothing(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B, sessions=100)
    await fleet.select(id="timed out, ran later")
    await fleet.confirm(B)
    answer = await fleet.ask(id="next")
    assert isinstance(answer, Placement)
    assert (answer.address, answer.is_locked) == (B, False)
    await fleet.report("failed", A, id="timed out, ran later")
    assert await fleet.reserved(A) == 0
    assert (await fleet.select(id="last")).address == B


async def test_a_clock_that_stepped_back_does_not_make_news_old(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.place()
    fleet.wait(-60_000)
    await fleet.beat(A)
    await fleet.beat(B)
    assert (await fleet.confirm(B)).is_placed


async def test_it_counts_for_the_tenant(fleet: Fleet) -> None:
    await fleet.beat()
    await fleet.confirm(A, is_limited=True)
    assert await fleet.client.zrange(fleet.keys.tenant("default"), 0, -1) == ["issuer"]


async def test_a_channel_on_an_sfu_that_has_gone_is_skipped(fleet: Fleet, redis: Redis) -> None:
    generation = (await fleet.beat()).generation
    await fleet.registry.registrations.sign_off(A, KEY)
    assert not (await fleet.confirm()).is_placed
    await fleet.beat()
    assert not (await fleet.confirm(generation=generation)).is_placed
    assert await redis.exists(fleet.keys.placement("default", "issuer")) == 0


async def test_many_are_confirmed_at_once(fleet: Fleet) -> None:
    await fleet.beat()
    answers = await fleet.registry.confirm(
        *(ConfirmedPlacement(call_id(f"{number}"), A, f"uuid {number}", 0) for number in range(60))
    )
    assert [answer.is_placed for answer in answers] == [True] * 60
    assert len(await fleet.registry.rescues.calls_of(A)) == 60


async def test_a_channel_whose_people_have_come_long_ago_reserves_nothing(fleet: Fleet) -> None:
    await fleet.beat(A)
    assert (await fleet.confirm(A, age_ms=60_000)).is_placed
    assert await fleet.reserved(A) == 0


async def test_an_older_confirmation_of_the_same_channel_sets_no_time_back(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.beat(B)
    await fleet.confirm(A, age_ms=1_000)
    await fleet.confirm(A, age_ms=9_000)
    assert not (await fleet.confirm(B, age_ms=5_000)).is_placed


async def test_replicas_are_told_of_channels_that_are_created_or_confirmed(fleet: Fleet) -> None:
    await fleet.beat(A)
    await fleet.place(
        "first", tenant="acme", channel_key_fingerprint="key", caller="192.0.2.1", max_placements=9, id="r"
    )
    position, [entry] = await fleet.registry.recent_confirmations("", 10)
    first = confirmed_placement(entry)
    assert entry == f"acme\n{confirmation_facts(first)}\nfirst"
    assert first == ConfirmedPlacement(
        call_id("first", tenant="acme", channel_key_fingerprint="key"),
        address=A,
        uuid="channel of first",
        confirmed_at=fleet.now_ms,
        generation=1,
        caller="192.0.2.1",
        id="r",
        is_limited=True,
    )
    for _ in range(2):
        await fleet.confirm(A, age_ms=7)
    _, [entry] = await fleet.registry.recent_confirmations(position, 10)
    second = confirmed_placement(entry)
    assert (second.call.issuer, second.confirmed_at, second.id) == (
        "issuer",
        fleet.now_ms - 7,
        "offline request of issuer",
    )
