"""The page never says "Live" of what may no longer be true: real gateways stop, hang, die, get slow and come back."""

import re
from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser.chromium import Opener, Visit, visit
from tests.browser.own_deployment import OwnDeployment
from tests.journeys.deployment import Replica, RunningFleet
from tests.support.engines import RedisServer
from tests.support.proxy import FaultProxy, Faults

STALE = re.compile(r"^Stale, \d+ s$")
PATIENCE_MS = 30_000

_NOTE_BADGES = """
    const badge = document.querySelector("#connection");
    window.badges = [];
    new MutationObserver(() => window.badges.push(badge.textContent))
        .observe(badge, { childList: true, characterData: true, subtree: true });
"""


async def _is_live(seen: Visit) -> None:
    await expect(seen.page.locator("#connection")).to_have_text("Live", timeout=PATIENCE_MS)
    await expect(seen.page.locator("#banner")).to_be_hidden()
    await expect(seen.page.locator("body")).not_to_have_class(re.compile("is-stale"))


async def _is_stale(seen: Visit) -> None:
    await expect(seen.page.locator("#connection")).to_have_text(STALE, timeout=PATIENCE_MS)
    await expect(seen.page.locator("#banner")).to_contain_text("Not live: this was true at ")
    await expect(seen.page.locator("body")).to_have_class(re.compile("is-stale"))
    await expect(seen.page.locator("#events-state")).to_have_text("reconnecting")


async def _stays_stale(seen: Visit, until_s: int) -> None:
    """Its data gets `until_s` seconds old, and it has not been called live since the fault was noticed."""
    older = re.compile(rf"^Stale, ({until_s}|{until_s + 1}) s$")
    await expect(seen.page.locator("#connection")).to_have_text(older, timeout=2_000 * until_s)
    badges = await seen.page.evaluate("window.badges")
    first = next(i for i, badge in enumerate(badges) if badge.startswith("Stale"))
    assert set(badges[first:]) == {badge for badge in badges[first:] if STALE.match(badge)}


class TestWhereProcessesStop(OwnDeployment):
    async def test_a_gateway_that_stops_and_is_killed_later_is_stale_until_it_is_back(
        self, open_dashboard: Opener, replica: Replica, fleet: RunningFleet
    ) -> None:
        seen = await open_dashboard()
        await _is_live(seen)
        await seen.page.evaluate(_NOTE_BADGES)
        replica.process.pause()
        await _is_stale(seen)
        await _stays_stale(seen, 14)
        replica.process.kill()
        await _stays_stale(seen, 22)
        replica.process.start()
        await _is_live(seen)
        await expect(seen.tile("selectable")).to_have_text("4 / 4")
        seen.forgive("ERR_")

    async def test_a_gateway_that_stopped_and_goes_on_is_live_again_with_new_figures(
        self, open_dashboard: Opener, replica: Replica, fleet: RunningFleet
    ) -> None:
        seen = await open_dashboard()
        await _is_live(seen)
        replica.process.pause()
        await _is_stale(seen)
        replica.process.resume()
        await _is_live(seen)
        assert replica.admin("drain", address=fleet.addresses[0]).status_code == 200
        await expect(seen.row(fleet.addresses[0])).to_have_attribute("data-tone", "drain")
        seen.forgive("ERR_")

    async def test_figures_without_redis_are_not_live(
        self, open_dashboard: Opener, replica: Replica, fleet: RunningFleet, own_server: RedisServer
    ) -> None:
        seen = await open_dashboard()
        await _is_live(seen)
        await expect(seen.tile("mode")).to_have_text("Registry")
        own_server.pause()
        await expect(seen.tile("mode")).to_have_text("Snapshot", timeout=PATIENCE_MS)
        await expect(seen.page.locator("#connection")).to_have_text(re.compile(r"^Without Redis, \d+ s$"))
        await expect(seen.page.locator("#banner")).to_contain_text("Redis is away")
        own_server.resume()
        await expect(seen.tile("mode")).to_have_text("Registry", timeout=PATIENCE_MS)
        await _is_live(seen)


@pytest_asyncio.fixture(loop_scope="package")
async def proxy(replica: Replica, fleet: RunningFleet) -> AsyncIterator[FaultProxy]:
    """A proxy in front of the gateway."""
    assert replica.client.base_url.port is not None
    async with FaultProxy(replica.client.base_url.port) as standing:
        yield standing


async def test_a_connection_that_hangs_is_stale_until_it_is_healed(
    browser: Browser, proxy: FaultProxy
) -> None:
    async with visit(browser, f"http://127.0.0.1:{proxy.port}", "/dashboard") as seen:
        await _is_live(seen)
        await seen.page.evaluate(_NOTE_BADGES)
        proxy.faults = Faults(black_hole=True)
        await _is_stale(seen)
        await _stays_stale(seen, 16)
        proxy.faults = Faults()
        await _is_live(seen)


async def test_a_gateway_whose_every_answer_comes_too_late_is_never_live_in_between(
    browser: Browser, proxy: FaultProxy
) -> None:
    async with visit(browser, f"http://127.0.0.1:{proxy.port}", "/dashboard") as seen:
        await _is_live(seen)
        await seen.page.evaluate(_NOTE_BADGES)
        proxy.faults = Faults(latency_seconds=6)
        await _is_stale(seen)
        for _ in range(3):
            async with seen.page.expect_response("**/v1/dashboard/data", timeout=PATIENCE_MS):
                pass
        badges = await seen.page.evaluate("window.badges")
        first = next(i for i, badge in enumerate(badges) if badge.startswith("Stale"))
        assert "Live" not in badges[first:]
        proxy.faults = Faults()
        await _is_live(seen)


async def test_a_proxy_that_answers_for_a_dead_gateway_is_named(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard()
    await _is_live(seen)
    await seen.page.route("**/v1/dashboard/data", lambda route: route.fulfill(status=502, body="<h1>"))
    await _is_stale(seen)
    await expect(seen.page.locator("#banner")).to_contain_text("The gateway answered with status 502.")
    await seen.page.unroute("**/v1/dashboard/data")
    await _is_live(seen)
    seen.forgive("502")


async def test_figures_that_the_gateway_cannot_renew_are_not_live(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard("/noop")

    await seen.change_data(lambda document: document | {"fleetAgeMs": 60_000})
    await seen.page.goto(f"{replica.url}/dashboard")
    await _is_stale(seen)
    await expect(seen.page.locator("#banner")).to_contain_text("no newer figures from Redis")


async def test_a_hidden_page_is_paused_and_reads_when_it_is_shown(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard()
    await _is_live(seen)
    await seen.page.evaluate(_HIDE, True)
    await expect(seen.page.locator("#connection")).to_have_text("Paused")
    await seen.page.evaluate(_HIDE, False)
    await _is_live(seen)


_HIDE = """isHidden => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => isHidden });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
