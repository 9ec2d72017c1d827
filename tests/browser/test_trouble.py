"""What is wrong, as an operator at 3 am sees it: on top of the page, in the table and in an SFU's details."""

import re

import pytest
from playwright.async_api import expect

from tests.browser.chromium import Opener, Visit
from tests.journeys.deployment import ADMIN_TOKEN, Replica, RunningFleet
from tests.support.waiting import eventually_sync

OVERLOADED = {"channels": 9, "sessions": 90, "cpuUsage": 0.97, "memoryUsage": 0.5}
LONG = "http://sfu-17.media.eu-west-1.internal.very-long-company-name.example.com:8070"


def _fail(replica: Replica, fleet: RunningFleet, address: str) -> None:
    """Let an SFU of eu-west answer 500 until it is ejected for a time."""
    fleet.control(address, "fault", {"fault": "status", "status": 500, "route": "/v1/channel"})
    number = iter(range(1000))

    def is_ejected() -> bool:
        replica.ask(f"https://odoo.example:channel:{next(number)}", "/v1/channel?region=eu-west")
        return any(sfu["breaker"] == "open" for sfu in replica.health()["sfus"])

    eventually_sync(is_ejected, timeout_seconds=20, interval_seconds=0.1)


async def test_one_green_line_says_that_nothing_is_wrong(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard()
    panel = seen.page.locator("#diagnosis")
    await expect(panel).to_have_attribute("data-tone", "ok")
    await expect(panel).to_have_text(
        re.compile(r"^\s*What is wrong\s+Nothing is wrong: 4 of 4 SFUs selectable")
    )
    await expect(panel.locator("li")).to_have_count(0)


async def test_each_trouble_is_a_line_with_its_cause_command_and_runbook(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard(permissions=["clipboard-read", "clipboard-write"])
    broken, hot = fleet.addresses[0], fleet.addresses[1]
    _fail(replica, fleet, broken)
    fleet.control(hot, "figures", OVERLOADED)
    lines = seen.page.locator("#troubles li")
    worst = seen.page.locator('#troubles li[data-code="sfu_ejected"]')
    await expect(lines.first).to_have_attribute("data-code", "sfu_ejected")
    await expect(worst).to_contain_text(broken.removeprefix("http://"))
    await expect(worst).to_contain_text(re.compile(r"for \d+ s · .*answered 500 to /v1/channel, \d+ s ago"))
    await expect(seen.page.locator('#troubles li[data-code="sfu_overloaded"]')).to_contain_text("CPU 97%")

    await worst.locator("button.copy").click()
    await expect(worst.locator("button.copy")).to_have_text("Copied")
    assert await seen.page.evaluate("navigator.clipboard.readText()") == f"sfu-gateway sfu show {broken}"

    async with seen.page.expect_popup() as opening:
        await worst.locator("a").click()
    runbook = await opening.value
    await runbook.wait_for_load_state()
    assert runbook.url == f"{replica.url}/dashboard/runbooks/sfu_ejected"
    await expect(runbook.locator("body")).to_contain_text("## sfu_ejected")

    await worst.locator("button.link").click()
    await expect(seen.page.locator("#drawer-title")).to_have_text(broken)


async def test_a_line_stays_the_same_element_while_its_trouble_lasts(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard()
    fleet.control(fleet.addresses[0], "figures", OVERLOADED)
    copy = seen.page.locator("#troubles button.copy")
    await copy.focus()
    for _ in range(2):
        async with seen.page.expect_response("**/v1/diagnosis"):
            pass
    await expect(copy).to_be_focused()


async def test_a_command_is_copied_where_the_browser_gives_no_clipboard(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard("/noop")
    await seen.page.add_init_script("delete Navigator.prototype.clipboard")
    await seen.page.goto(f"{replica.url}/dashboard#sfu={fleet.addresses[0]}")
    copy = seen.page.locator("#drawer button.copy")
    await copy.click()
    await expect(copy).to_have_text("Copied")
    await expect(copy).to_be_focused()
    await seen.page.focus("#search")
    await seen.page.keyboard.press("Control+V")
    await expect(seen.page.locator("#search")).to_have_value(fleet.addresses[0])


def _fact(seen: Visit, name: str) -> str:
    return f"#drawer .facts div:has(dt:text-is('{name}')) dd"


async def test_details_name_the_last_error_and_the_sfus_own_events(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard()
    broken = fleet.addresses[0]
    _fail(replica, fleet, broken)
    await seen.row(broken).click()
    error = seen.page.locator(_fact(seen, "Last error"))
    await expect(error).to_have_text(
        re.compile(r"^It answered 500 to /v1/channel, \d+ s ago, \d+ errors? since its last success\.$")
    )
    await expect(seen.page.locator(_fact(seen, "Ejection"))).to_have_text(re.compile(r"^for another \d+ s, "))
    events = seen.page.locator("#drawer .own-events li")
    await expect(events.first).to_contain_text("Ejected")
    await expect(events.last).to_contain_text("new")
    await seen.page.click(f'tr[data-address="{fleet.addresses[1]}"]', position={"x": 10, "y": 10})
    await expect(events).to_have_count(1)
    await expect(error).to_be_hidden()


async def test_an_operator_ends_an_ejection_whose_cause_is_known_to_explain(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard()
    broken = fleet.addresses[0]
    _fail(replica, fleet, broken)
    await seen.page.fill("#explain-form [name=region]", "eu-west")
    await seen.page.press("#explain-form [name=region]", "Enter")
    await seen.confirm(ADMIN_TOKEN)
    item = seen.page.locator(".candidates li", has_text=broken.removeprefix("http://"))
    await expect(item.locator(".who")).to_have_text(re.compile(r"[1-9]\d* x answered 500 to /v1/channel$"))
    fleet.control(broken, "fault", {"fault": "none"})
    reset = seen.page.locator("#drawer button:text-is('Reset')")
    await seen.row(fleet.addresses[1]).click()
    await expect(reset).to_be_hidden()
    await seen.row(broken).click()
    await reset.click()
    await seen.confirm()
    await expect(seen.row(broken)).to_have_attribute("data-tone", "ok")
    await expect(reset).to_be_hidden()


async def test_a_fault_in_the_setup_of_an_sfu_that_creates_channels_is_named(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard()
    for address in fleet.addresses:
        fleet.control(address, "fault", {"fault": "clock", "seconds_ahead": -3_600})
    placed = replica.ask().json()["url"]
    await seen.row(placed).click()
    await expect(seen.page.locator(_fact(seen, "Set-up"))).to_have_text("clock off")


async def test_the_figure_above_its_threshold_is_named(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard()
    hot = fleet.addresses[0]
    fleet.control(hot, "figures", OVERLOADED)
    await expect(seen.row(hot).locator(".c-reason")).to_have_text("CPU 97% > 95%")
    await expect(seen.row(hot).locator(".is-cause")).to_have_text(["97%"])
    await seen.row(hot).click()
    await expect(seen.page.locator("#drawer .meaning")).to_have_text(
        "Its CPU is at 97%, the limit is 95% (overload.max_cpu). It takes new channels when that falls."
    )


async def test_a_lost_sfu_keeps_its_last_figures(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard()
    lost = fleet.addresses[0]
    fleet.control(lost, "figures", OVERLOADED | {"cpuUsage": 0.41})
    await expect(seen.row(lost).locator(".c-cpu")).to_have_text("41%")
    fleet.control(lost, "heartbeats", {"silent": True})
    await expect(seen.row(lost).locator(".c-state")).to_have_text("Lost", timeout=10_000)
    await expect(seen.row(lost).locator(".c-sessions")).to_have_text(re.compile(r"^90 / "))
    await expect(seen.row(lost).locator(".c-cpu")).to_have_text("41%")
    await seen.row(lost).click()
    await expect(seen.page.locator("#drawer .meaning")).to_contain_text("These are its last figures.")
    await expect(seen.page.locator(_fact(seen, "Channels"))).to_have_text("9")


async def test_the_capacity_tile_shows_what_each_region_still_takes(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard()
    regions = seen.page.locator("[data-tile=capacity] li")
    await expect(regions).to_have_count(2)
    for address in (fleet.addresses[1], fleet.addresses[3]):
        fleet.control(address, "figures", OVERLOADED)
    await expect(regions.first).to_have_text("us-east0 free")
    await expect(seen.page.locator("[data-tile=capacity]")).to_have_attribute("data-tone", "bad")


@pytest.mark.parametrize("width", [1280, 1440])
async def test_a_long_address_loses_its_middle_and_no_column_is_cut_off(
    open_dashboard: Opener, replica: Replica, one_sfu: RunningFleet, width: int
) -> None:
    seen = await open_dashboard(viewport={"width": width, "height": 900})
    replica.heartbeat(LONG, one_sfu.key_of(one_sfu.addresses[0]))
    address = seen.row(LONG).locator(".c-address")
    await expect(address).to_have_text(LONG.removeprefix("http://"))
    await expect(seen.row(LONG).locator(".c-cpu")).to_be_visible()
    cell, tail = await address.bounding_box(), await address.locator(".tail").bounding_box()
    assert cell is not None
    assert tail is not None
    assert tail["x"] + tail["width"] <= cell["x"] + cell["width"]
    assert await seen.page.evaluate("document.documentElement.scrollWidth") == width


async def test_one_missed_heartbeat_is_told_and_two_are_late(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard("/noop")
    ages = {fleet.addresses[0]: 1_400, fleet.addresses[1]: 1_600, fleet.addresses[2]: 2_600}
    await seen.change_data(
        lambda document: (
            document
            | {"sfus": [sfu | {"heartbeatAgeMs": ages.get(sfu["address"], 0)} for sfu in document["sfus"]]}
        )
    )
    await seen.page.goto(f"{replica.url}/dashboard")
    in_time, missed, late = (seen.row(address).locator(".c-heartbeat") for address in ages)
    await expect(in_time).to_have_text(re.compile(r"^\d s$"))
    await expect(missed).to_have_text(re.compile(r"^\d s, 1 missed$"))
    await expect(missed).not_to_have_class(re.compile("is-late"))
    await expect(late).to_have_text(re.compile(r"^\d s, 2 missed$"))
    await expect(late).to_have_class(re.compile("is-late"))
