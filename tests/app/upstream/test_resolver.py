"""Names to addresses: only permitted ones, asked for once, remembered for a while."""

import asyncio
import ipaddress
from collections.abc import Sequence

import pytest

from app.upstream.addresses import AddressGuard
from app.upstream.resolver import MAX_NAMES, TTL_SECONDS, GuardedResolver
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


@pytest.mark.parametrize("host", ["sfu.test", "169.254.169.254", "::", "fe80::1%2"])
async def test_a_host_that_leads_to_no_permitted_address_is_an_error(host: str) -> None:
    with pytest.raises(OSError, match="leads to no permitted address"):
        await GuardedResolver(AddressGuard(), lookup=Names("169.254.169.254")).resolve(host)


async def test_an_ip_address_is_not_asked_for() -> None:
    names = Names()
    resolver = GuardedResolver(AddressGuard(), lookup=names)
    assert await resolver.resolve("10.9.2.1") == ("10.9.2.1",)
    assert await resolver.resolve("fd00:9::1") == ("fd00:9::1",)
    assert names.asked == []


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433"])
async def test_the_system_is_asked(host: str) -> None:
    found = await GuardedResolver(AddressGuard()).resolve(host)
    assert all(ipaddress.ip_address(text).is_loopback for text in found)


async def test_a_name_is_believed_for_a_while() -> None:
    names, clock = Names("10.9.2.1"), Clock()
    resolver = GuardedResolver(AddressGuard(), lookup=names, clock=clock)
    await resolver.resolve("sfu.test")
    names.found = ["10.9.2.2"]
    clock.now += TTL_SECONDS - 0.1
    assert await resolver.resolve("sfu.test") == ("10.9.2.1",)
    clock.now += 0.1
    assert await resolver.resolve("sfu.test") == ("10.9.2.2",)
    assert names.asked == ["sfu.test"] * 2


async def test_a_forgotten_name_is_asked_for_again() -> None:
    names = Names("10.9.2.1")
    resolver = GuardedResolver(AddressGuard(), lookup=names)
    await resolver.resolve("sfu.test")
    resolver.forget("sfu.test")
    resolver.forget("other.test")
    await resolver.resolve("sfu.test")
    assert names.asked == ["sfu.test"] * 2


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
