"""The demo: gateway, sweeper and simulated SFUs in one process, on an embedded store."""

import asyncio
import itertools
import random
import secrets
import signal
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Final

import httpx
import uvicorn
from pydantic import SecretStr

from app.crypto.tokens import Key
from app.logs import configure_logging
from app.main import create_app
from app.server.uvicorn_server import guest_server_for
from app.settings.model import HealthSettings, LogSettings, RegistrationSettings, Settings
from workers.simulator.fleet import Fleet, FleetConfig

REGIONS: Final = ("eu-west", "us-east", "ap-southeast")
_TOKEN_LIFE_SECONDS: Final = 3600
_PING_INTERVAL_MS: Final = 2_000


def demo_settings(port: int) -> Settings:
    """Return settings with keys of their own, which end with the process."""
    return Settings(
        bind="127.0.0.1",
        port=port,
        key=(Key(secrets.token_bytes(32)),),
        admin_token=SecretStr(secrets.token_urlsafe(16)),
        registration=RegistrationSettings(key=(Key(secrets.token_bytes(32)),)),
        health=HealthSettings(ping_interval_ms=_PING_INTERVAL_MS),
        log=LogSettings(level="warning", format="text"),
    )


async def run_demo(
    *, sfus: int, port: int, calls_per_minute: float, duration_s: float, say: Callable[[str], object]
) -> None:
    """Run until SIGINT, SIGTERM or, unless it is 0, for `duration_s` seconds.

    A simulated Odoo asks for `calls_per_minute` new channels, and each answer is told with `say`.

    Raises:
        OSError: the port is taken.
    """
    settings = demo_settings(port)
    configure_logging(settings.log.level, settings.log.format)
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, done.set)
    async with AsyncExitStack() as stack:
        server = guest_server_for(create_app(settings), settings)
        url = await _start(stack, server)
        config = FleetConfig(
            count=sfus,
            regions=REGIONS[:sfus],
            gateway_urls=(url,),
            registration_key=settings.registration.key[0],
            ping_interval_ms=_PING_INTERVAL_MS,
            proxy=True,
        )
        await stack.enter_async_context(Fleet(config))
        for line in _welcome(url, sfus, settings):
            say(line)
        calls = asyncio.create_task(_make_calls(url, settings.key[0], calls_per_minute, say))
        with suppress(TimeoutError):
            async with asyncio.timeout(duration_s or None):
                await done.wait()
        calls.cancel()
        with suppress(asyncio.CancelledError):
            await calls
        say("\nStopping: the SFUs sign off, then the gateway ends.")


async def _start(stack: AsyncExitStack, server: uvicorn.Server) -> str:
    """Start the server beside us; return its URL. It stops after everything that was entered later."""
    listener = socket.create_server((server.config.host, server.config.port))
    stack.callback(listener.close)
    task = asyncio.create_task(server.serve(sockets=[listener]))

    async def stop() -> None:
        server.should_exit = True
        await task

    stack.push_async_callback(stop)
    while not server.started:
        if task.done():
            await task
            raise OSError(0, "the gateway did not start")
        await asyncio.sleep(0.01)
    host, bound_port = listener.getsockname()[:2]
    return f"http://{host}:{bound_port}"


async def _make_calls(url: str, key: Key, per_minute: float, say: Callable[[str], object]) -> None:
    """Ask for one channel after the other, each for a discussion of its own, as an Odoo would."""
    if per_minute == 0:
        return
    async with httpx.AsyncClient(base_url=url, trust_env=False, verify=False) as client:  # noqa: S501 - http
        for number in itertools.count(2):
            await asyncio.sleep(random.expovariate(per_minute / 60))
            token = key.sign(_claims(number, life_seconds=30))
            answer = await client.get("/v1/channel", headers={"Authorization": f"Bearer {token}"})
            document = answer.json()
            where = document["url"] if answer.is_success else f"nowhere: {document['code']}"
            say(f"{time.strftime('%H:%M:%S')}  call {number:>4}  ->  {where}")


def _claims(number: int, life_seconds: int) -> dict[str, object]:
    return {"iss": f"https://odoo.example.com:channel:{number}", "exp": int(time.time()) + life_seconds}


def _token_of(settings: Settings) -> str:
    """The admin token, to be shown: it was made for this run and ends with it."""
    return settings.admin_token.get_secret_value() if settings.admin_token else ""


def _welcome(url: str, sfus: int, settings: Settings) -> list[str]:
    token = settings.key[0].sign(_claims(1, _TOKEN_LIFE_SECONDS))
    return [
        f"Gateway on {url} with {sfus} simulated SFUs in {', '.join(REGIONS[:sfus])}.",
        "",
        "Ask for a channel as Odoo does (again gives the same channel; ?region=us-east gives a hint):",
        "",
        f"  curl -s -H 'Authorization: Bearer {token}' '{url}/v1/channel'",
        "",
        "Look at the fleet:",
        "",
        f"  curl -s {url}/v1/health",
        f"  {url}/dashboard      (admin token: {_token_of(settings)})",
        "",
        "Ctrl-C ends it. Meanwhile a simulated Odoo makes calls:",
        "",
    ]
