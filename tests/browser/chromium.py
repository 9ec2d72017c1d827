"""A headless Chromium that loads nothing but what it is told to, and a visit to the dashboard in it."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.async_api import Browser, ConsoleMessage, Error, Page, Request, Route, async_playwright

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str | None:
    """Return the path of this machine's Chromium, `None` without one."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


@asynccontextmanager
async def chromium(executable: str) -> AsyncIterator[Browser]:
    """Run a browser with a profile of its own, which ends with it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=list(_FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


@dataclass(slots=True)
class Visit:
    """One page, and everything it did that it should not have done."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    """Errors on the console, uncaught exceptions, requests that left the host."""

    def forgive(self, text: str) -> None:
        """Take back complaints that this test has provoked: those with `text` in them."""
        self.complaints = [complaint for complaint in self.complaints if text not in complaint]

    def row(self, address: str) -> Any:
        """Return the locator of an SFU's row."""
        return self.page.locator(f'tr[data-address="{address}"]')

    def tile(self, name: str) -> Any:
        """Return the locator of a tile's figure."""
        return self.page.locator(f"[data-tile={name}] .figure")

    async def change_data(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Let the page get what `change` makes of its data, from the next read on."""

        async def answer(route: Route) -> None:
            truth = await route.fetch()
            await route.fulfill(response=truth, json=change(await truth.json()))

        await self.page.route("**/v1/dashboard/data", answer)

    async def confirm(self, token: str | None = None) -> None:
        """Answer the question that is being asked, with the admin token where it is wanted."""
        if token is not None:
            await self.page.fill("#ask [name=token]", token)
        await self.page.click("#ask button[type=submit]")


Opener = Callable[..., Awaitable[Visit]]
"""Opens a page of the gateway: a path, by default the dashboard's, and options of its browser context."""


@asynccontextmanager
async def visit(browser: Browser, url: str, path: str, **context: Any) -> AsyncIterator[Visit]:
    """Open `path` of the gateway at `url` in a context of its own: `viewport`, `color_scheme`, ..."""
    options = {"viewport": {"width": 1440, "height": 900}, "reduced_motion": "reduce"} | context
    tab = await browser.new_context(**options)
    page = await tab.new_page()
    seen = Visit(page, url)
    host = urlsplit(url).netloc

    def note_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            seen.complaints.append(f"console {message.type}: {message.text} {message.location}")

    def note_request(request: Request) -> None:
        if urlsplit(request.url).netloc != host:
            seen.complaints.append(f"request to another host: {request.url}")

    async def stay_on_host(route: Route) -> None:
        await (route.fallback() if urlsplit(route.request.url).netloc == host else route.abort())

    def note_exception(error: Error) -> None:
        seen.complaints.append(f"uncaught: {error}")

    page.on("console", note_console)
    page.on("pageerror", note_exception)
    page.on("request", note_request)
    await page.route("**/*", stay_on_host)
    try:
        await page.goto(url + path)
        yield seen
    finally:
        page.remove_listener(
            "console", note_console
        )  # without its routes, the page may read what is not there
        await page.unroute_all(behavior="wait")  # else a handler is left with half a request
        await tab.close()
