"""What an operator sees and does. No page may err on its console or reach for another host: see `conftest`."""

import itertools
import re
from typing import Any

from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Route, expect

from tests.browser.chromium import Opener, Visit
from tests.browser.own_deployment import OwnDeployment
from tests.journeys.deployment import ADMIN_TOKEN, Replica, RunningFleet
from tests.support.waiting import eventually, eventually_sync

PHONE = {"viewport": {"width": 390, "height": 844}}


class TestFromItsStart(OwnDeployment):
    """A gateway that has seen one fleet alone."""

    async def test_tiles_and_rows_appear(
        self, open_dashboard: Opener, replica: Replica, fleet: RunningFleet
    ) -> None:
        assert replica.ask().status_code == 200
        seen = await open_dashboard()
        await expect(seen.tile("selectable")).to_have_text("4 / 4")
        await expect(seen.tile("mode")).to_have_text("Registry")
        await expect(seen.tile("channels")).to_have_text("1")
        await expect(seen.page.locator("#connection")).to_have_text("Live")
        await expect(seen.page.locator("section.region h3")).to_have_text(["eu-west", "us-east"])
        for address in fleet.addresses:
            await expect(seen.row(address)).to_contain_text("Selectable")
        await expect(seen.page.locator("#events li")).to_have_count(4)

    async def test_axe_finds_nothing_serious(
        self, open_dashboard: Opener, replica: Replica, fleet: RunningFleet
    ) -> None:
        fleet.control(fleet.addresses[0], "heartbeats", {"silent": True})
        replica.admin("drain", address=fleet.addresses[1])
        fleet.control(
            fleet.addresses[2],
            "figures",
            {"channels": 9, "sessions": 900, "cpuUsage": 0.97, "memoryUsage": 0.5},
        )
        for context, scheme in itertools.product(({}, PHONE), ("light", "dark")):
            seen = await open_dashboard(color_scheme=scheme, bypass_csp=True, **context)
            await _examine(seen, fleet, is_phone=context == PHONE)


async def test_an_sfu_that_dies_turns_red_without_a_reload(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard()
    silent, living = fleet.addresses[0], fleet.addresses[1]
    await expect(seen.row(silent)).to_have_attribute("data-tone", "ok")
    fleet.control(silent, "heartbeats", {"silent": True})
    await expect(seen.row(silent)).to_have_attribute("data-tone", "bad", timeout=10_000)
    await expect(seen.row(silent).locator(".c-state")).to_have_text("Lost")
    colours = [await _state_colour(seen, address) for address in (silent, living)]
    assert colours == ["rgb(194, 35, 58)", "rgb(26, 122, 69)"]
    await expect(seen.row(silent).locator(".c-reason")).to_have_text("no heartbeat")
    await expect(seen.tile("selectable")).to_have_text("3 / 3")
    await expect(seen.page.locator("#events li").first).to_contain_text("no heartbeat")
    assert await seen.page.title() == "(1) SFU Gateway"


async def _state_colour(seen: Visit, address: str) -> str:
    state = seen.row(address).locator(".c-state span")
    return str(await state.evaluate("element => getComputedStyle(element).color"))


async def test_heartbeats_age_while_one_looks(open_dashboard: Opener, one_sfu: RunningFleet) -> None:
    seen = await open_dashboard()
    heartbeat = seen.row(one_sfu.addresses[0]).locator(".c-heartbeat")
    await expect(heartbeat).to_have_text("0 s")
    one_sfu.control(one_sfu.addresses[0], "heartbeats", {"silent": True})
    await expect(heartbeat).to_have_text(re.compile(r"^([2-9]|\d\d) s"))


async def test_an_ejection_counts_down(open_dashboard: Opener, replica: Replica, fleet: RunningFleet) -> None:
    seen = await open_dashboard()
    broken = fleet.addresses[0]
    fleet.control(broken, "fault", {"fault": "status", "status": 500, "route": "/v1/channel"})
    number = iter(range(1000))

    def is_open() -> bool:
        replica.ask(f"https://odoo.example:channel:{next(number)}", "/v1/channel?region=eu-west")
        return any(sfu["breaker"] == "open" for sfu in replica.health()["sfus"])

    eventually_sync(is_open, timeout_seconds=20, interval_seconds=0.1)
    reason = seen.row(broken).locator(".c-reason")
    await expect(reason).to_have_text(re.compile(r"^\d+ failures, \d\d s$"))
    await expect(seen.tile("ejected")).to_have_text("1")
    before = _seconds(await reason.inner_text())

    async def has_counted_down() -> bool:
        return _seconds(await reason.inner_text()) <= before - 3  # a busy page skips a second

    await eventually(has_counted_down, timeout_seconds=15)


def _seconds(text: str) -> int:
    return int(text.split()[-2])


async def test_draining_works_with_the_token_and_not_without(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard()
    address = fleet.addresses[0]
    await seen.row(address).click()
    await seen.page.click("#drawer button:text-is('Drain')")
    await expect(seen.page.locator("#ask h2")).to_have_text(f"Drain {address}?")
    await seen.confirm("")
    await expect(seen.page.locator("#ask .error")).to_have_text("Enter the admin token.")
    await seen.confirm("a-guess")
    await expect(seen.page.locator("#ask .error")).to_have_text("this is not the admin token")
    assert replica.status_of(address) == "up"
    await seen.confirm(ADMIN_TOKEN)
    await expect(seen.row(address)).to_have_attribute("data-tone", "drain")
    await expect(seen.tile("draining")).to_have_text("1")
    assert replica.status_of(address) == "draining"

    await expect(
        seen.page.locator("#drawer button:text-is('Move calls')")
    ).to_be_hidden()  # nobody may be told
    await seen.page.click("#drawer button:text-is('Resume')")
    await expect(seen.page.locator("#ask [name=token]")).to_be_hidden()
    await seen.confirm()
    await expect(seen.row(address)).to_have_attribute("data-tone", "ok")
    seen.forgive("401")


async def test_the_token_is_kept_in_this_tab_only_and_can_be_forgotten(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard()
    await expect(seen.tile("selectable")).to_have_text("4 / 4")
    await seen.page.click("#explain-form button")
    await seen.confirm(ADMIN_TOKEN)
    await expect(seen.page.locator(".candidates li")).to_have_count(4)
    assert ADMIN_TOKEN in await seen.page.evaluate("JSON.stringify(sessionStorage)")
    assert ADMIN_TOKEN not in await seen.page.evaluate(
        "JSON.stringify(localStorage) + document.cookie + location"
    )
    await seen.page.click("#lock")
    assert await seen.page.evaluate("sessionStorage.length") == 0
    await expect(seen.page.locator("#lock")).to_be_hidden()


async def test_a_lost_sfu_can_be_forgotten(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard()
    address = fleet.addresses[0]
    fleet.control(address, "heartbeats", {"silent": True})
    await expect(seen.row(address)).to_have_attribute("data-tone", "bad", timeout=10_000)
    await seen.row(address).click()
    await seen.page.click("#drawer button:text-is('Forget')")
    await seen.confirm(ADMIN_TOKEN)
    await expect(seen.row(address)).to_have_count(0)
    await expect(seen.page.locator("#drawer .state")).to_have_text("Not listed")


async def test_operators_actions_are_shut_where_no_token_is_set(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard("/noop")
    await seen.change_data(lambda document: document | {"admin": False})
    await seen.page.goto(f"{replica.url}/dashboard")
    await seen.row(fleet.addresses[0]).click()
    await expect(seen.page.locator("#drawer footer")).to_contain_text("SFU_GATEWAY_ADMIN_TOKEN")
    await expect(seen.page.locator("#drawer footer button:enabled")).to_have_count(0)


async def test_the_explain_panel_ranks_and_reasons(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    replica.admin("drain", address=fleet.addresses[1])
    seen = await open_dashboard()
    await seen.page.fill("#explain-form [name=region]", "us-east")
    await seen.page.press("#explain-form [name=region]", "Enter")
    await seen.confirm(ADMIN_TOKEN)
    result = seen.page.locator("#explain-result")
    await expect(result.locator(".answer")).to_contain_text(f"The call goes to {fleet.addresses[3]}: ")
    await expect(result).to_contain_text("Preferred region: us-east")
    rows = seen.page.locator(".candidates li")
    await expect(rows).to_have_count(4)
    await expect(rows.first).to_contain_text("Chosen")
    await expect(rows.first).to_contain_text(fleet.addresses[3].removeprefix("http://"))
    await expect(result).to_contain_text("Other region")
    await expect(result).to_contain_text("Drained")


async def test_the_explain_panel_names_one_winner_for_a_call_that_has_its_sfu(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    issuer = "https://odoo.example:channel:7"
    home = replica.ask(issuer).json()["url"]
    seen = await open_dashboard()
    await seen.page.fill("#explain-form [name=issuer]", issuer)
    await seen.page.press("#explain-form [name=issuer]", "Enter")
    await seen.confirm(ADMIN_TOKEN)
    await expect(seen.page.locator("#explain-result .answer")).to_have_text(f"{home} keeps its call here.")
    first = seen.page.locator(".candidates li").first
    await expect(first).to_contain_text(home.removeprefix("http://"))
    await expect(first).to_contain_text("Keeps its call here")
    await expect(seen.page.locator(".candidates [data-verdict=chosen]")).to_have_count(0)

    for address in fleet.addresses:
        fleet.control(address, "figures", {"channels": 9, "sessions": 9, "cpuUsage": 0.97})
        await expect(seen.row(address)).to_have_attribute("data-tone", "warn")
    await seen.page.fill("#explain-form [name=issuer]", "")
    await seen.page.click("#explain-form button")
    await expect(seen.page.locator("#explain-result .answer")).to_have_text(
        "No SFU takes the call: 4 overloaded."
    )


async def test_the_drawer_shows_the_history(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard()
    await seen.row(fleet.addresses[0]).click()
    plots = seen.page.locator("#drawer .plot svg")
    await expect(plots).to_have_count(3)
    for name, plot in zip(("Load", "Sessions", "Channels"), await plots.all(), strict=True):
        await expect(plot).to_have_attribute("aria-label", re.compile(rf"^{name}, last hour: now "))
        assert await plot.locator(".line").get_attribute("d")


async def test_the_keyboard_alone_is_enough(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard()
    button = seen.row(fleet.addresses[0]).locator("button")
    await button.focus()
    await seen.page.keyboard.press("Enter")
    await expect(seen.page.locator("#drawer-title")).to_be_focused()
    await seen.page.keyboard.press("Escape")
    await expect(seen.page.locator("#drawer")).to_be_hidden()
    await expect(button).to_be_focused()


async def _examine(seen: Visit, fleet: RunningFleet, *, is_phone: bool) -> None:
    """Let axe look at each view of a dashboard, with an SFU of each tone."""
    for address, tone in zip(fleet.addresses, ("bad", "drain", "warn", "ok"), strict=True):
        await expect(seen.row(address)).to_have_attribute("data-tone", tone, timeout=10_000)
    assert await _serious(seen) == []
    if is_phone:
        await seen.page.click("nav [data-view=explain]")
    await seen.page.click("#explain-form button")
    assert await _serious(seen) == []
    await seen.confirm(ADMIN_TOKEN)
    await expect(seen.page.locator(".candidates li")).to_have_count(4)
    assert await _serious(seen) == []
    if is_phone:
        await seen.page.click("nav [data-view=fleet]")
    await seen.row(fleet.addresses[0]).click()
    await expect(seen.page.locator("#drawer .facts")).to_contain_text("Gone since")
    assert await _serious(seen) == []


async def _serious(seen: Visit) -> list[str]:
    results = await Axe().run(seen.page)
    return [
        f"{violation['id']}: {node['html']} {node['failureSummary']}"
        for violation in results.response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


async def test_a_phone_needs_no_sideways_scrolling(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard(**PHONE)
    await expect(seen.tile("selectable")).to_have_text("4 / 4")
    for view in ("fleet", "explain", "events"):
        await seen.page.click(f"nav [data-view={view}]")
        assert await seen.page.evaluate("document.documentElement.scrollWidth") == 390


async def test_it_works_behind_a_path_prefix(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    seen = await open_dashboard("/noop")
    outside: list[str] = []

    async def strip_prefix(route: Route) -> None:
        url = route.request.url
        if "/ops/sfu/" not in url:
            outside.append(url)
        await route.continue_(url=url.replace("/ops/sfu/", "/"))

    await seen.page.route("**/*", strip_prefix)
    for path in ("/ops/sfu/dashboard", "/ops/sfu/dashboard/", "/ops/sfu/v1/health"):
        await seen.page.goto(replica.url + path)
        await expect(seen.tile("selectable")).to_have_text("4 / 4")
        await expect(seen.page.locator("#connection")).to_have_text("Live")
        assert outside == [], path


async def test_a_thousand_sfus_change_in_place_and_fill_no_page(
    open_dashboard: Opener, replica: Replica, fleet: RunningFleet
) -> None:
    def multiply(document: dict[str, Any]) -> dict[str, Any]:
        sfus = [
            sfu | {"address": f"{sfu['address']}{number:03}", "region": f"region-{number % 4}"}
            for number in range(250)
            for sfu in document["sfus"]
        ]
        sfus[0] |= {"state": "ejected", "status": "failed"}
        return document | {"sfus": sfus}

    seen = await open_dashboard("/noop")
    await seen.change_data(multiply)
    await seen.page.goto(f"{replica.url}/dashboard")
    await expect(seen.page.locator("#fleet-count")).to_have_text("1,000 SFUs in 4 regions")
    await expect(seen.page.locator("[aria-expanded=true]")).to_have_count(1)
    await expect(seen.page.locator("tbody tr")).to_have_count(100)
    await seen.page.evaluate("document.querySelectorAll('tbody tr').forEach(row => { row.isTheSame = true })")
    await seen.page.evaluate(_WATCH_LONG_TASKS)
    await seen.page.wait_for_timeout(5_000)
    assert await seen.page.evaluate("[...document.querySelectorAll('tbody tr')].every(row => row.isTheSame)")
    assert await seen.page.evaluate("longest") < 200
    await seen.page.select_option("#filter", "trouble")
    await expect(seen.page.locator("tbody tr")).to_have_count(1)


_WATCH_LONG_TASKS = """
    window.longest = 0;
    new PerformanceObserver(list => {
        for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
    }).observe({ entryTypes: ["longtask"] });
"""
