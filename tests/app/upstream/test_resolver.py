"""Names to addresses: only permitted ones, asked for once, remembered for a while."""

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Sequence

import pytest

from app.upstream import resolver as resolver_module
from app.upstream.addresses import AddressGuard
from app.upstream.resolver import (
    MAX_NAMES,
    PROVEN_SECONDS,
    STALE_SECONDS,
    TTL_SECONDS,
    GuardedResolver,
    ResolverFailed,
)
from tests.support.simulated import Clock


class Names:
    """A name service played: each name leads to `found`, once it `answers`."""

    def __init__(self, *found: str) -> None:
        self.found = list(found)
        self.asked: list[str] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        await self.answers.wait()
        if not self.found:
            raise OSError("no such name")
        return tuple(self.found)


async def test_only_permitted_addresses_are_found() -> None:
    names = Names("169.254.169.254", "10.9.2.1", "::ffff:169.254.169.254", "224.0.0.1", "fd00:9::1")
    assert await GuardedResolver(AddressGuard(), lookup=names).resolve("sfu.test") == (
        "10.9.2.1",
        "fd00:9::1",
    )


@pytest.mark.parametrize("found", ["169.254.169.254", "::", "fe80::1%2"])
async def test_a_name_that_leads_to_no_permitted_address_is_an_error(found: str) -> None:
    with pytest.raises(OSError, match="leads to no permitted address"):
        await GuardedResolver(AddressGuard(), lookup=Names(found)).resolve("sfu.test")


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433"])
async def test_the_system_is_asked(host: str) -> None:
    found = await GuardedResolver(AddressGuard()).resolve(host)
    assert all(ipaddress.ip_address(text).is_loopback for text in found)


async def settled() -> None:
    """Let what was begun in the background come to its end."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_an_answer_is_used_without_a_question_and_later_renewed_in_the_background() -> None:
    names, clock = Names("10.9.2.1"), Clock()
    resolver = GuardedResolver(AddressGuard(), lookup=names, clock=clock)
    await resolver.resolve("sfu.test")
    names.found = ["10.9.2.2"]
    clock.now += TTL_SECONDS - 0.1
    assert await resolver.resolve("sfu.test") == ("10.9.2.1",)
    assert names.asked == ["sfu.test"]
    clock.now += 0.1
    assert await resolver.resolve("sfu.test") == ("10.9.2.1",)
    await settled()
    assert await resolver.resolve("sfu.test") == ("10.9.2.2",)
    assert names.asked == ["sfu.test"] * 2


async def test_a_new_answer_is_waited_for_where_the_known_one_is_old_or_led_nowhere() -> None:
    names, clock = Names("10.9.2.1"), Clock()
    resolver = GuardedResolver(AddressGuard(), lookup=names, clock=clock)
    await resolver.resolve("sfu.test")
    names.found = ["10.9.2.2"]
    clock.now += STALE_SECONDS
    assert await resolver.resolve("sfu.test") == ("10.9.2.2",)
    names.found = ["10.9.2.3"]
    resolver.failed("sfu.test")
    resolver.failed("other.test")
    assert await resolver.resolve("sfu.test") == ("10.9.2.3",)
    assert names.asked == ["sfu.test"] * 3


@pytest.mark.parametrize("found", [[], ["169.254.169.254"]], ids=["fails", "leads to a forbidden address"])
async def test_the_last_good_addresses_stay_while_the_resolver_answers_nothing_good(found: list[str]) -> None:
    names, clock = Names("10.9.2.1"), Clock()
    resolver = GuardedResolver(AddressGuard(), lookup=names, clock=clock)
    await resolver.resolve("sfu.test")
    names.found = found
    for _ in range(3):
        clock.now += STALE_SECONDS
        resolver.failed("sfu.test")
        assert await resolver.resolve("sfu.test") == ("10.9.2.1",)
        assert await resolver.resolve("sfu.test") == ("10.9.2.1",)
    assert len(names.asked) == 4  # a failed look-up is not repeated at once


async def test_the_last_good_addresses_serve_while_the_resolver_hangs() -> None:
    names, clock = Names("10.9.2.1"), Clock()
    resolver = GuardedResolver(AddressGuard(), lookup=names, clock=clock, patience_s=0.01)
    await resolver.resolve("sfu.test")
    names.answers.clear()
    clock.now += 10 * STALE_SECONDS
    assert await resolver.resolve("sfu.test") == ("10.9.2.1",)
    await resolver.close()


async def test_an_address_that_worked_is_the_last_to_be_tried_when_the_resolver_names_others() -> None:
    names, clock = Names("10.9.2.1", "10.9.2.2"), Clock()
    resolver = GuardedResolver(AddressGuard(), lookup=names, clock=clock)
    await resolver.resolve("sfu.test")
    resolver.succeeded("sfu.test", "10.9.2.2")
    assert await resolver.resolve("sfu.test") == ("10.9.2.2", "10.9.2.1")
    names.found = ["10.51.100.1"]
    clock.now += STALE_SECONDS
    assert await resolver.resolve("sfu.test") == ("10.51.100.1", "10.9.2.2")
    clock.now += PROVEN_SECONDS
    assert await resolver.resolve("sfu.test") == ("10.51.100.1",)


@pytest.mark.parametrize(
    ("number", "is_ours"), [(socket.EAI_AGAIN, True), (socket.EAI_FAIL, True), (socket.EAI_NONAME, False)]
)
async def test_a_resolver_that_fails_is_told_from_a_name_that_does_not_exist(
    number: int, is_ours: bool
) -> None:
    async def fail(_: str) -> Sequence[str]:
        raise socket.gaierror(number, "so it is")

    with pytest.raises(OSError, match=r".") as caught:
        await GuardedResolver(AddressGuard(), lookup=fail).resolve("sfu.test")
    assert isinstance(caught.value, ResolverFailed) == is_ours


async def test_slow_names_do_not_delay_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """More names hang than any pool of threads has threads."""
    may_answer = threading.Event()

    def getaddrinfo(host: str) -> list[str]:
        if host.startswith("slow"):
            may_answer.wait(30)
        return ["10.9.2.1"]

    monkeypatch.setattr(resolver_module, "_getaddrinfo", getaddrinfo)
    resolver = GuardedResolver(AddressGuard())
    slow = [asyncio.create_task(resolver.resolve(f"slow{number}.test")) for number in range(64)]
    assert await resolver.resolve("good.test") == ("10.9.2.1",)
    assert not any(task.done() for task in slow)
    may_answer.set()
    assert set(await asyncio.gather(*slow)) == {("10.9.2.1",)}


async def test_look_ups_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    may_answer = threading.Event()

    def getaddrinfo(_: str) -> list[str]:
        may_answer.wait(30)
        return ["10.9.2.1"]

    monkeypatch.setattr(resolver_module, "_getaddrinfo", getaddrinfo)
    monkeypatch.setattr(resolver_module, "MAX_LOOKUPS", 2)
    resolver = GuardedResolver(AddressGuard())
    slow = [asyncio.create_task(resolver.resolve(f"slow{number}.test")) for number in range(2)]
    await settled()
    with pytest.raises(ResolverFailed, match="2 look-ups are under way"):
        await resolver.resolve("third.test")
    may_answer.set()
    await asyncio.gather(*slow)
    assert await resolver.resolve("third.test") == ("10.9.2.1",)


async def test_a_name_that_dns_cannot_express_is_an_error() -> None:
    with pytest.raises(OSError, match=r"."):
        await GuardedResolver(AddressGuard()).resolve("x" * 64 + ".test")


async def test_a_failure_is_not_remembered() -> None:
    names = Names()
    resolver = GuardedResolver(AddressGuard(), lookup=names)
    with pytest.raises(OSError, match="no such name"):
        await resolver.resolve("sfu.test")
    names.found = ["10.9.2.1"]
    assert await resolver.resolve("sfu.test") == ("10.9.2.1",)


async def test_all_who_want_a_name_at_one_time_ask_once() -> None:
    names = Names("10.9.2.1")
    resolver = GuardedResolver(AddressGuard(), lookup=names)
    found = await asyncio.gather(*(resolver.resolve("sfu.test") for _ in range(20)))
    assert found == [("10.9.2.1",)] * 20
    assert names.asked == ["sfu.test"]


async def test_one_who_leaves_takes_nothing_from_the_others() -> None:
    names = Names("10.9.2.1")
    names.answers.clear()
    resolver = GuardedResolver(AddressGuard(), lookup=names)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await resolver.resolve("sfu.test")
    other = asyncio.create_task(resolver.resolve("sfu.test"))
    names.answers.set()
    assert await other == ("10.9.2.1",)
    assert names.asked == ["sfu.test"]


async def test_a_failure_after_all_have_left_is_nobodys() -> None:
    names = Names()
    names.answers.clear()
    resolver = GuardedResolver(AddressGuard(), lookup=names)
    said: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await resolver.resolve("sfu.test")
    names.answers.set()
    with pytest.raises(OSError, match="no such name"):
        await resolver.resolve("sfu.test")
    assert said == []


async def test_names_are_remembered_to_a_limit() -> None:
    names = Names("10.9.2.1")
    resolver = GuardedResolver(AddressGuard(), lookup=names)
    for number in range(MAX_NAMES + 1):
        await resolver.resolve(f"sfu{number}.test")
    await resolver.resolve("sfu1.test")
    assert len(names.asked) == MAX_NAMES + 1
    await resolver.resolve("sfu0.test")
    assert len(names.asked) == MAX_NAMES + 2


async def test_closing_lets_go_of_what_is_being_asked() -> None:
    names = Names("10.9.2.1")
    names.answers.clear()
    resolver = GuardedResolver(AddressGuard(), lookup=names)
    waiting = asyncio.create_task(resolver.resolve("sfu.test"))
    await asyncio.wait({waiting}, timeout=0.01)
    await resolver.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
