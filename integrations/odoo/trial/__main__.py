"""`integrations/odoo/try-it`: kill the SFU of a call of four, and print when each member was told, and where to."""

import argparse
import asyncio
import os
import shlex
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp

from app.crypto.tokens import Key
from trial.message import send_rescue
from trial.odoo import Member, Notice, Odoo, StoredSfu, TrialError
from workers.simulator.channels import People
from workers.simulator.fleet import Fleet, FleetConfig

MEMBERS: Final = 4
SFU_FROM: Final = 3
"""Odoo puts a call on an SFU when this many people are in it, and tells them all over the bus."""

REGISTRATION_KEY_VARIABLE: Final = "SFU_GATEWAY_REGISTRATION__KEY"
PASSWORD_VARIABLE: Final = "ODOO_PASSWORD"  # noqa: S105 - the name of a variable
POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Killed:
    """The SFU of the call, and when it died (monotonic)."""

    sfu: StoredSfu
    at: float


async def run(options: argparse.Namespace) -> bool:
    """Make the call, kill its SFU and report. Return whether every member was sent to a living SFU."""
    async with AsyncExitStack() as stack:
        odoo = await stack.enter_async_context(
            Odoo.log_in(options.odoo, options.database, options.login, options.password)
        )
        say(f"Odoo {odoo.version}, addon {await odoo.addon_version()}")
        gateway = await _gateway_of(odoo)
        fleet = await stack.enter_async_context(_sfus(options, gateway))
        channel, invitation = await stack.enter_async_context(odoo.channel("SFU gateway trial"))
        guests = [
            await stack.enter_async_context(odoo.guest(f"Guest {number}", invitation))
            for number in range(1, MEMBERS)
        ]
        members = [odoo.admin, *guests]
        await stack.enter_async_context(odoo.listening(members, options.websocket or options.odoo))
        for member in members:
            await member.call("/mail/rtc/channel/join_call", channel_id=channel, check_rtc_session_ids=[])
        sfu = await odoo.stored_sfu(channel)
        if not sfu.url:
            raise TrialError("the call has no SFU: Odoo's log and the gateway's say why")
        say(f"A call of {MEMBERS} is on {sfu.url}, channel {sfu.uuid}")
        await _until_told(members[:SFU_FROM])
        killed = await _kill(options, fleet, sfu)
        if options.send_rescue is not None:
            await asyncio.sleep(options.send_rescue)
            key = Key.from_base64(await odoo.parameter("mail.sfu_server_key"))
            reason = "restarted" if options.restart else "down"
            say(f"{_after(killed)} the trial itself sends the message of the gateway")
            answer = await send_rescue(options.odoo, key, sfu.uuid, reason)
            say(f"{_after(killed)} Odoo answers {answer}")
        moved = await _wait(members, killed, options.timeout)
        for line in report_lines(members, killed):
            say(line)
        now = await odoo.stored_sfu(channel)
        say(f"Odoo has stored {now.url or 'no SFU'}, channel {now.uuid or 'none'}")
        return moved and now.uuid not in ("", sfu.uuid)


async def _gateway_of(odoo: Odoo) -> str:
    url = await odoo.parameter("mail.sfu_server_url")
    if not url or not await odoo.parameter("mail.sfu_server_key"):
        raise TrialError("set the RTC server URL and key in Odoo to those of the gateway: see docs/odoo.md")
    say(f"Gateway {url}")
    return url.rstrip("/")


@asynccontextmanager
async def _sfus(options: argparse.Namespace, gateway: str) -> AsyncIterator[Fleet | None]:
    """Start the simulated SFUs, unless `--kill` names a command that kills a real one."""
    if options.kill:
        yield None
        return
    config = FleetConfig(
        count=options.sfus,
        gateway_urls=(gateway,),
        registration_key=Key.from_base64(options.registration_key) if options.registration_key else None,
        people=People(per_channel=0),
    )
    async with Fleet(config) as fleet:
        await _until_registered(gateway, [sfu.address for sfu in fleet.sfus])
        say(f"Simulated SFUs {', '.join(sfu.address for sfu in fleet.sfus)}")
        yield fleet


async def _until_registered(gateway: str, addresses: list[str]) -> None:
    deadline = time.monotonic() + 15
    async with aiohttp.ClientSession() as http:
        while time.monotonic() < deadline:
            async with http.get(f"{gateway}/v1/health") as answer:
                text = await answer.text()
            if all(address in text for address in addresses):
                return
            await asyncio.sleep(POLL_S)
    raise TrialError(f"the gateway did not take the simulated SFUs: is {REGISTRATION_KEY_VARIABLE} its key?")


async def _until_told(members: Sequence[Member]) -> None:
    """Wait until Odoo's bus has told the first members of the SFU: only then they hear of another."""
    deadline = time.monotonic() + 15
    while not all(member.notices for member in members):
        if time.monotonic() > deadline:
            raise TrialError("Odoo's bus told the members nothing of the SFU: does --websocket lead to it?")
        await asyncio.sleep(POLL_S)


async def _kill(options: argparse.Namespace, fleet: Fleet | None, sfu: StoredSfu) -> Killed:
    """Kill the SFU. Its time of death is before a command of `--kill` runs: that may move the call itself."""
    killed = Killed(sfu, time.monotonic())
    if fleet is None:
        command = [word.replace("{url}", sfu.url) for word in shlex.split(options.kill)]
        process = await asyncio.create_subprocess_exec(*command)
        if await process.wait() != 0:
            raise TrialError(f"{options.kill} failed")
    else:
        simulated = next((one for one in fleet.sfus if one.address == sfu.url), None)
        if simulated is None:
            raise TrialError("the call is on an SFU that the trial did not start: drain the others first")
        simulated.kill()
        if options.restart:
            await simulated.start()
    say(f"{_after(killed)} {sfu.url} is {'restarted' if options.restart else 'killed'}")
    return killed


async def _wait(members: Sequence[Member], killed: Killed, timeout_s: float) -> bool:
    """Wait until every member was sent to an SFU after the kill. Return whether that happened in time."""
    while time.monotonic() < killed.at + timeout_s:
        if all(any(notice.url for notice in notices_since(member, killed)) for member in members):
            return True
        await asyncio.sleep(POLL_S)
    return False


def notices_since(member: Member, killed: Killed) -> list[Notice]:
    """Return what the member was told after the SFU died, oldest first."""
    return [notice for notice in member.notices if notice.at > killed.at]


def report_lines(members: Sequence[Member], killed: Killed) -> list[str]:
    """Return one line per thing that a member was told after the SFU died, and one per member told nothing."""
    lines = []
    for member in members:
        notices = notices_since(member, killed)
        lines += [
            f"{notice.at - killed.at:6.2f} s  {member.name} was sent to {notice.url or 'peer-to-peer'}"
            for notice in notices
        ]
        if not notices:
            lines.append(f"    never  {member.name} was told nothing and retries {killed.sfu.url}")
    return lines


def _after(killed: Killed) -> str:
    return f"{time.monotonic() - killed.at:6.2f} s "


def say(line: str) -> None:
    """Print `line` at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; secrets come from the environment, out of `ps`."""
    parser = argparse.ArgumentParser(
        prog="integrations/odoo/try-it",
        description="Make a call of four in a running Odoo, kill its SFU, print when each member was told.",
        epilog=f"Secrets: {PASSWORD_VARIABLE} is the password of --login, {REGISTRATION_KEY_VARIABLE} the key "
        "with which SFUs register at the gateway. Exit code: 0 when all members were sent to another SFU, 1 when "
        "not, 2 when the trial could not be made.",
    )
    add = parser.add_argument
    add("--odoo", required=True, metavar="URL", help="base URL of Odoo")
    add("--database", required=True)
    add("--login", default="admin", help="an administrator (default: %(default)s)")
    add("--websocket", metavar="URL", help="where Odoo's WebSocket is, when no reverse proxy leads there")
    add("--sfus", type=int, default=2, help="simulated SFUs to start on loopback (default: %(default)s)")
    add("--kill", metavar="COMMAND", help="start no SFUs; this command kills the real one at {url}")
    add("--restart", action="store_true", help="start the simulated SFU again at once, without its channels")
    add(
        "--send-rescue",
        type=float,
        metavar="SECONDS",
        help="send the gateway's message so long after the kill",
    )
    add("--timeout", type=float, default=60, metavar="SECONDS", help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    options.password = os.environ.get(PASSWORD_VARIABLE, "")
    options.registration_key = os.environ.get(REGISTRATION_KEY_VARIABLE, "")
    return options


def main() -> None:
    """Run the trial and exit with its code."""
    try:
        moved = asyncio.run(run(parse()))
    except (TrialError, aiohttp.ClientError, OSError) as error:
        sys.stderr.write(f"try-it: {error}\n")
        sys.exit(2)
    sys.exit(0 if moved else 1)


if __name__ == "__main__":
    main()
