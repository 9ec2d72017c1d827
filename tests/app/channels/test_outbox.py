"""Calls that wait until Redis knows them."""

import asyncio

from app.channels.outbox import Outbox
from app.registry.placements import ConfirmedPlacement
from tests.support.calls import call_id


def call(issuer: str = "issuer", uuid: str = "uuid", **fields: bool) -> ConfirmedPlacement:
    """A channel that was made without Redis."""
    return ConfirmedPlacement(call_id(issuer), "http://a", uuid, 0, **fields)  # type: ignore[arg-type]


def issuers(calls: list[ConfirmedPlacement]) -> list[str]:
    return [each.call.issuer for each in calls]


def test_calls_that_redis_knows_are_done_with() -> None:
    outbox = Outbox()
    for number in range(150):
        outbox.keep(call(str(number)))
    outbox.drop(first := outbox.batch())
    outbox.drop(second := outbox.batch())
    assert issuers([*first, *second]) == [str(number) for number in range(150)]
    assert len(outbox) == 0


def test_a_call_that_came_while_the_former_was_told_is_kept() -> None:
    outbox = Outbox()
    outbox.keep(call(uuid="first"))
    batch = outbox.batch()
    outbox.keep(call(uuid="second"))
    outbox.drop(batch)
    assert [each.uuid for each in outbox.batch()] == ["second"]


def test_calls_are_bounded_and_the_oldest_goes_first() -> None:
    outbox = Outbox()
    for number in range(50_001):
        outbox.keep(call(str(number)))
    assert (len(outbox), outbox.batch()[0].call.issuer) == (50_000, "1")


def test_the_call_that_has_an_issuers_own_name_is_confirmed_before_the_other_keys() -> None:
    outbox = Outbox()
    outbox.keep(call("shared", has_other_key=True))
    outbox.keep(call("own"))
    assert issuers(outbox.batch()) == ["own", "shared"]


async def test_each_call_is_told_once_at_once_and_again_if_that_failed() -> None:
    outbox = Outbox()
    waiting = asyncio.create_task(outbox.next_untold())
    await asyncio.sleep(0)
    assert not waiting.done()
    outbox.keep(call("first"))
    failed = await waiting
    assert issuers(failed) == ["first"]
    outbox.keep(call("second"))
    assert issuers(await outbox.next_untold()) == ["second"]
    outbox.return_untold(failed)
    assert issuers(await outbox.next_untold()) == ["first"]
    assert len(outbox) == 2


async def test_a_call_that_was_replaced_or_dropped_is_not_told_again() -> None:
    outbox = Outbox()
    outbox.keep(call(uuid="first"))
    failed = await outbox.next_untold()
    outbox.keep(call(uuid="second"))
    outbox.return_untold(failed)
    assert [each.uuid for each in await outbox.next_untold()] == ["second"]
