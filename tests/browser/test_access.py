"""Who may see the fleet, how one finds one's way by keys, and what an empty page says."""

import re

import pytest
from playwright.async_api import expect

from tests.browser.chromium import Opener
from tests.browser.own_deployment import OwnDeployment
from tests.journeys.deployment import ADMIN_TOKEN, Deployment, Replica, RunningFleet


class TestWhereStrangersSeeNothing(OwnDeployment):
    """A deployment whose fleet is for operators only."""

    @pytest.fixture
    def settings(self) -> dict[str, str]:
        """The fleet is not public."""
        return {"health__public": "false"}

    async def test_the_page_asks_for_the_admin_token_and_forgets_the_fleet_with_it(
        self, open_dashboard: Opener, deployment: Deployment, replica: Replica
    ) -> None:
        fleet = deployment.fleet(1, [replica])
        seen = await open_dashboard()
        await expect(seen.page.locator("#connection")).to_have_text("Locked")
        await expect(seen.page.locator("main")).to_be_hidden()
        await seen.page.click("#unlock")
        await seen.confirm("a-guess")
        await expect(seen.page.locator("#ask .error")).to_have_text("this is not the admin token")
        await seen.confirm(ADMIN_TOKEN)
        await expect(seen.row(fleet.addresses[0])).to_be_visible()
        await expect(seen.page.locator("#connection")).to_have_text("Live")
        await expect(seen.page.locator("#events li")).to_have_count(1)
        await seen.page.click("#lock")
        await expect(seen.page.locator("#connection")).to_have_text("Locked")
        await expect(seen.row(fleet.addresses[0])).to_have_count(0)
        seen.forgive("401")


async def test_slash_filters_and_a_question_mark_helps(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard()
    await expect(seen.tile("selectable")).to_have_text("4 / 4")
    await seen.page.keyboard.press("/")
    await expect(seen.page.locator("#search")).to_be_focused()
    await seen.page.keyboard.type("us-east/?")
    await expect(seen.page.locator("#search")).to_have_value("us-east/?")
    await expect(seen.page.locator("#help")).to_be_hidden()
    await seen.page.locator("#search").blur()
    await seen.page.keyboard.press("?")
    await expect(seen.page.locator("#help")).to_be_visible()
    await seen.page.keyboard.press("Escape")
    await expect(seen.page.locator("#help")).to_be_hidden()


async def test_the_first_tab_skips_to_the_fleet(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard()
    await expect(seen.tile("selectable")).to_have_text("4 / 4")
    await seen.page.keyboard.press("Tab")
    await expect(seen.page.locator(".skip")).to_be_focused()
    await expect(seen.page.locator(".skip")).to_be_in_viewport()
    await seen.page.keyboard.press("Enter")
    await expect(seen.page.locator("#main")).to_be_focused()
    await seen.page.keyboard.press("Tab")
    await expect(seen.page.locator("#search")).to_be_focused()


async def test_an_empty_fleet_says_what_to_do(open_dashboard: Opener, replica: Replica) -> None:
    seen = await open_dashboard(permissions=["clipboard-read", "clipboard-write"])
    empty = seen.page.locator("#fleet-empty")
    await expect(empty).to_contain_text("No SFU has registered yet")
    await expect(seen.tile("selectable")).to_have_text("0 / 0")
    await empty.locator("button.copy").click()
    command = await seen.page.evaluate("navigator.clipboard.readText()")
    assert command == f"SFU_GATEWAY_URL={replica.url} sfu-gateway agent --check"


async def test_an_empty_fleet_that_none_may_join_names_the_setting(
    open_dashboard: Opener, replica: Replica
) -> None:
    seen = await open_dashboard("/noop")
    await seen.change_data(lambda document: document | {"registration": False})
    await seen.page.goto(f"{replica.url}/dashboard")
    await expect(seen.page.locator("#fleet-empty")).to_contain_text(
        re.compile("Registration is closed. First set SFU_GATEWAY_REGISTRATION__KEY")
    )
