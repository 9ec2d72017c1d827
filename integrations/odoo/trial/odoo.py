"""What the trial asks of Odoo, over the routes that browsers use (17.0 to 19.0)."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

ADDON: Final = "sfu_gateway_rescue"
HOT_SWAP: Final = "discuss.channel.rtc.session/sfu_hot_swap"


class TrialError(Exception):
    """The trial cannot go on; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Odoo told a member where the call is: the SFU's URL, empty for peer-to-peer. `at` is monotonic."""

    at: float
    url: str


@dataclass(slots=True)
class Member:
    """One person: a browser's cookies, and what the bus told this person about the call."""

    name: str
    http: aiohttp.ClientSession
    notices: list[Notice] = field(default_factory=list)

    async def call(self, route: str, **params: Any) -> Any:
        """Call a JSON `route`. Raises TrialError when Odoo answers with an error."""
        body = {"jsonrpc": "2.0", "method": "call", "params": params}
        async with self.http.post(route, json=body) as answer:
            document = await answer.json(content_type=None)
        if "error" in document:
            problem = document["error"]
            text = problem.get("data", {}).get("message") or problem.get("message")
            raise TrialError(f"Odoo refused {route} of {self.name}: {text}")
        return document.get("result")

    async def model(self, model: str, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a public method of an Odoo `model` as this person."""
        route = f"/web/dataset/call_kw/{model}/{method}"
        return await self.call(route, model=model, method=method, args=list(args), kwargs=kwargs)

    async def listen(self, url: str) -> None:
        """Note every hot swap that the bus at the WebSocket `url` tells this person of, until cancelled."""
        async with self.http.ws_connect(url, heartbeat=20) as socket:
            subscription = {"event_name": "subscribe", "data": {"channels": [], "last": 0}}
            await socket.send_str(json.dumps(subscription))
            async for frame in socket:
                at = time.monotonic()
                for notification in json.loads(frame.data):
                    message = notification["message"]
                    if message["type"] == HOT_SWAP:
                        info = message["payload"]["serverInfo"] or {}
                        self.notices.append(Notice(at, info.get("url", "")))
        raise TrialError(f"Odoo closed the WebSocket of {self.name} (code {socket.close_code})")


@dataclass(frozen=True, slots=True)
class StoredSfu:
    """The SFU that Odoo stores for a call; both empty when there is none."""

    uuid: str
    url: str


class Odoo:
    """A database with its administrator logged in; use `Odoo.log_in`."""

    def __init__(self, url: str, admin: Member, version: str, bus_version: str) -> None:
        self.url = url
        self.admin = admin
        self.version = version
        self._bus_version = bus_version

    @classmethod
    @asynccontextmanager
    async def log_in(cls, url: str, database: str, login: str, password: str) -> AsyncIterator["Odoo"]:
        """Log the administrator in. Raises TrialError."""
        async with _browser(url) as http:
            admin = Member("Administrator", http)
            await admin.call("/web/session/authenticate", db=database, login=login, password=password)
            session = await admin.call("/web/session/get_session_info")
            yield cls(url, admin, session["server_version"], session.get("websocket_worker_version", ""))

    async def addon_version(self) -> str:
        """Return the version of the addon. Raises TrialError when it is not installed."""
        rows = await self.admin.model(
            "ir.module.module", "search_read", [("name", "=", ADDON)], ["state", "installed_version"]
        )
        if not rows or rows[0]["state"] != "installed":
            raise TrialError(f"the addon {ADDON} is not installed in this database: see docs/rescue.md")
        return str(rows[0]["installed_version"])

    async def parameter(self, name: str) -> str:
        """Return a system parameter, empty when it is not set."""
        return await self.admin.model("ir.config_parameter", "get_param", name) or ""

    async def stored_sfu(self, channel: int) -> StoredSfu:
        """Return what Odoo has stored for the call of `channel`."""
        fields = ["sfu_channel_uuid", "sfu_server_url"]
        [row] = await self.admin.model("discuss.channel", "read", [channel], fields)
        return StoredSfu(row["sfu_channel_uuid"] or "", row["sfu_server_url"] or "")

    @asynccontextmanager
    async def channel(self, name: str) -> AsyncIterator[tuple[int, str]]:
        """Create a channel that guests may join: its id and invitation. It is deleted at the end."""
        values = {"name": name, "channel_type": "channel", "group_public_id": False}
        channel = await self.admin.model("discuss.channel", "create", values)
        try:
            [row] = await self.admin.model("discuss.channel", "read", [channel], ["uuid"])
            yield channel, f"/chat/{channel}/{row['uuid']}"
        finally:
            await self._delete_channel(channel)

    async def _delete_channel(self, channel: int) -> None:
        domain = [("channel_id", "=", channel), ("guest_id", "!=", False)]
        members = await self.admin.model("discuss.channel.member", "search_read", domain, ["guest_id"])
        await self.admin.model("discuss.channel", "unlink", [channel])
        await self.admin.model("mail.guest", "unlink", [member["guest_id"][0] for member in members])

    @asynccontextmanager
    async def guest(self, name: str, invitation: str) -> AsyncIterator[Member]:
        """Open the invitation in a browser of its own: Odoo makes it a guest of the channel."""
        async with _browser(self.url) as http:
            async with http.get(invitation) as answer:
                if answer.status != 200:
                    raise TrialError(f"Odoo answers {answer.status} to a guest's invitation")
            yield Member(name, http)

    @asynccontextmanager
    async def listening(self, members: list[Member], url: str) -> AsyncIterator[None]:
        """Keep a WebSocket to Odoo's bus open for each member; `url` differs behind no reverse proxy."""
        address = f"{url.rstrip('/')}/websocket?version={self._bus_version}"
        tasks = [asyncio.create_task(member.listen(address)) for member in members]
        try:
            # Odoo does not say when a subscription is in force; one that fails ends its task.
            for task in (await asyncio.wait(tasks, timeout=1))[0]:
                task.result()
            yield
        except aiohttp.WSServerHandshakeError as error:
            raise TrialError(
                f"no WebSocket of Odoo at {address} ({error.status}): see --websocket"
            ) from error
        finally:
            for task in tasks:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _browser(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Make a client with cookies of its own, also for hosts that are IP addresses."""
    async with aiohttp.ClientSession(
        url,
        cookie_jar=aiohttp.CookieJar(unsafe=True),
        headers={"Origin": url.rstrip("/")},
        timeout=aiohttp.ClientTimeout(total=60),
    ) as http:
        yield http
