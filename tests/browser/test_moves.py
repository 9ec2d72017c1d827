"""An operator moves the calls of an SFU, in a browser."""

import asyncio

import pytest
from playwright.async_api import expect

from app.crypto.tokens import Key
from tests.browser.chromium import Opener
from tests.journeys.deployment import ADMIN_TOKEN, GATEWAY_KEY, Replica, RunningFleet
from tests.support.rescue_odoo import all_are, fake_odoo


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """The gateway tells Odoos of calls."""
    return {"rescue__allow": "http://127.0.0.1:*"}


async def test_the_calls_of_an_sfu_are_moved_and_counted(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    async with fake_odoo(Key.from_base64(GATEWAY_KEY), all_are("moved")) as odoo:
        answer = await asyncio.to_thread(replica.ask, f"{odoo.base_url}:channel:1")
        address = answer.json()["url"]
        seen = await open_dashboard()
        await seen.row(address).click()
        await seen.page.click("#drawer button:text-is('Move calls')")
        await expect(seen.page.locator("#ask h2")).to_have_text(f"Move the calls of {address}?")
        await seen.confirm(ADMIN_TOKEN)
        await expect(seen.row(address)).to_have_attribute("data-tone", "drain")
        moved = seen.page.locator("#drawer dl div", has_text="Calls").locator("dd")
        await expect(moved).to_have_text("1 moved, 0 left, 0 kept, 0 failed")
    assert [message["reason"] for message in odoo.messages] == ["drain"]


async def test_a_drain_that_has_begun_keeps_its_deadline_when_its_calls_are_moved(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    address = fleet.addresses[0]
    await asyncio.to_thread(replica.admin, "drain", address=address, deadlineMs=3_600_000)
    before = await asyncio.to_thread(drain_until, replica, address)
    seen = await open_dashboard()
    await seen.row(address).click()
    await seen.page.click("#drawer button:text-is('Move calls')")
    await seen.confirm(ADMIN_TOKEN)
    moved = seen.page.locator("#drawer dl div", has_text="Calls").locator("dd")
    await expect(moved).to_have_text("0 moved, 0 left, 0 kept, 0 failed")
    assert await asyncio.to_thread(drain_until, replica, address) == pytest.approx(before, abs=60_000)


def drain_until(replica: Replica, address: str) -> int:
    """Return the deadline of a drain, in ms since the epoch."""
    sfus = replica.client.get("/v1/dashboard/data").json()["sfus"]
    return next(int(sfu["drainUntil"]) for sfu in sfus if sfu["address"] == address)
