"""Where calls are, as a replica remembers it."""

from dataclasses import replace

from app.channels.call_memory import CallMemory, ConfirmationFollower
from app.errors import RegistryUnavailable
from app.registry.placements import ConfirmedPlacement, confirmation_facts
from tests.support.calls import call_id
from tests.support.waiting import eventually


def call(issuer: str = "issuer", address: str = "a", at: int = 1_000, key: str = "") -> ConfirmedPlacement:
    name = call_id(issuer, channel_key_fingerprint=key)
    return ConfirmedPlacement(name, address, f"uuid of {issuer}", at)


def memory(most: int = 10) -> CallMemory:
    return CallMemory(lambda: 1_000, ttl_ms=100, most=most)


def place_of(memory: CallMemory, issuer: str = "issuer", tenant: str = "default") -> str | None:
    found = memory.of(call_id(issuer, tenant=tenant))
    return found.address if found else None


class Confirmations:
    """A log in this process."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.readings = 0
        self.is_away = False

    def add(self, *calls: ConfirmedPlacement) -> None:
        self.entries += [
            f"{each.call.tenant}\n{confirmation_facts(each)}\n{each.call.issuer}" for each in calls
        ]

    async def recent_confirmations(self, after: str, count: int) -> tuple[str, list[str]]:
        self.readings += 1
        if self.is_away:
            raise RegistryUnavailable("xrange: TimeoutError")
        start = int(after) if after else max(0, len(self.entries) - count)
        found = self.entries[start : start + count]
        return str(start + len(found)), found


def test_tenants_with_one_issuer_have_calls_of_their_own() -> None:
    calls = memory()
    calls.remember(call())
    assert (place_of(calls), place_of(calls, tenant="acme")) == ("a", None)


def test_the_later_confirmation_wins_in_whichever_order_they_are_heard() -> None:
    for order in ((1_000, 1_001), (1_001, 1_000)):
        calls = memory()
        for at in order:
            calls.remember(call(address=str(at), at=at))
        assert place_of(calls) == "1001"


def test_a_call_of_no_known_key_is_that_of_every_key_until_one_of_its_own_is_known() -> None:
    calls = memory()
    calls.remember(call(address="of no key"))
    calls.remember(call(address="of one", key="one"))
    found = [calls.of(call_id(channel_key_fingerprint=key)) for key in ("", "one", "two")]
    assert [each.address for each in found if each] == ["of no key", "of one", "of no key"]


def test_the_key_that_came_first_has_the_issuers_own_name_while_its_call_is_known() -> None:
    calls = memory(most=2)
    calls.remember(call(key="one"))
    calls.remember(replace(call(key="two"), has_other_key=True))
    names = [call_id(channel_key_fingerprint=key) for key in ("", "one", "two")]
    assert [calls.has_other_key(name) for name in names] == [False, False, True]
    calls.remember(call("another"))
    assert not calls.has_other_key(names[-1])


def test_a_key_that_takes_the_issuers_own_name_leaves_the_call_of_the_former_key_known() -> None:
    calls = memory()
    for key, has_other_key in (("one", False), ("two", True), ("two", False)):
        calls.remember(replace(call(address=f"of {key}", key=key), has_other_key=has_other_key))
    names = [call_id(channel_key_fingerprint=key) for key in ("one", "two", "three")]
    assert [calls.has_other_key(name) for name in names] == [True, False, True]
    assert [each and each.address for each in map(calls.of, names)] == ["of one", "of two", None]
    assert len(calls) == 2


def test_a_call_is_returned_as_it_was_remembered() -> None:
    known = ConfirmedPlacement(
        call_id("line\nline", tenant="acme", channel_key_fingerprint="key"),
        address="http://a",
        uuid="uuid",
        confirmed_at=1_000,
        generation=3,
        caller="192.0.2.1",
        has_other_key=True,
        id="request",
        is_limited=True,
    )
    calls = memory()
    calls.remember(known)
    assert calls.of(known.call) == known
    assert list(calls.all()) == [known]


def test_calls_are_told_in_the_order_of_their_confirmation_but_the_owners_of_names_first() -> None:
    calls = memory()
    calls.remember(replace(call("shared", key="two"), has_other_key=True))
    for issuer in ("first", "second", "first"):
        calls.remember(call(issuer))
    assert [each.call.issuer for each in calls.all()] == ["second", "first", "shared"]


def test_generations_of_lost_data_are_forgotten() -> None:
    now = 1_000
    calls = CallMemory(lambda: now, ttl_ms=100_000)
    calls.remember(replace(call("before"), generation=7))
    calls.forget_generations()
    now += 60_000
    calls.remember(replace(call("after", at=now), generation=3))
    assert [each.generation for each in calls.all()] == [0, 3]
    before = calls.of(call_id("before"))
    assert before is not None
    assert before.generation == 0


def test_the_memory_is_bounded_and_forgets_the_call_that_was_confirmed_first() -> None:
    calls = memory(most=2)
    for issuer in ("first", "second", "first", "third"):
        calls.remember(call(issuer))
    assert [place_of(calls, issuer) for issuer in ("first", "second", "third")] == ["a", None, "a"]
    assert len(calls) == 2


def test_a_placement_that_is_no_longer_sticky_is_not_known() -> None:
    calls = memory()
    calls.remember(call("fresh", at=901))
    calls.remember(call("old", at=900))
    assert (place_of(calls, "fresh"), place_of(calls, "old")) == ("a", None)


async def test_a_replica_that_starts_learns_the_newest_and_then_each_one_once() -> None:
    log, calls = Confirmations(), memory(most=100_000)
    log.add(*(call(f"issuer {number}") for number in range(10_500)))
    follower = ConfirmationFollower(calls, log)
    await follower.catch_up()
    assert (len(calls), place_of(calls, "issuer 499"), place_of(calls, "issuer 500")) == (10_000, None, "a")
    log.add(*(call(f"later {number}") for number in range(2_500)))
    await follower.catch_up()
    assert len(calls) == 12_500
    assert log.readings == 4


async def test_following_goes_on_after_redis_was_away() -> None:
    log, calls = Confirmations(), memory()
    log.is_away = True
    async with ConfirmationFollower(calls, log).running():
        await eventually(lambda: log.readings == 1)
        log.is_away = False
        log.add(call())
        await eventually(lambda: place_of(calls) == "a")
