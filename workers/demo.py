"""The demo: gateway, sweeper and simulated SFUs in one process, on an embedded Redis or a server of its own."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import uvicorn
from pydantic import SecretStr

from app.crypto.tokens import Key
from app.logs import configure_logging
from app.main import create_app
from app.registry.client import close_client, connect
from app.registry.registry import Registry
from app.server.uvicorn_server import guest_server_for
from app.settings.model import HealthSettings, LogSettings, RedisSettings, RegistrationSettings, Settings
from app.sweeper import Sweeper
from app.upstream.client import Forwarder
from workers.own_redis import own_redis
from workers.simulator.fleet import FleetConfig
from workers.simulator.odoo import claims_of_call
from workers.simulator.play import Play, perform
from workers.simulator.stage import key_help

REGIONS: Final = ("eu-west", "us-east", "ap-southeast", "sa-east")
_TOKEN_LIFE_SECONDS: Final = 3600
_PING_INTERVAL_MS: Final = 2_000


def demo_settings(port: int, redis_url: str = "") -> Settings:
    """Return settings with keys of their own, which end with the process."""
    return Settings(
        bind="127.0.0.1",
        port=port,
        key=(Key(secrets.token_bytes(32)),),
        admin_token=SecretStr(secrets.token_urlsafe(16)),
        registration=RegistrationSettings(key=(Key(secrets.token_bytes(32)),)),
        health=HealthSettings(ping_interval_ms=_PING_INTERVAL_MS, unhealthy_threshold=12),
        redis=RedisSettings(url=SecretStr(redis_url) if redis_url else None),
        log=LogSettings(level="warning", format="text"),
    )


async def run_demo(
    *, sfus: int, port: int, calls_per_minute: float, duration_s: float, say: Callable[[str], object]
) -> None:
    """Run without troubles: see `play_demo`."""
    await play_demo(Play(sfus, calls_per_minute, duration_s), port, say)


async def play_demo(play: Play, port: int, say: Callable[[str], object]) -> None:
    """Run until SIGINT, SIGTERM or, unless it is 0, for a duration.

    A simulated Odoo asks for new channels, and each answer is told with `say`; with troubles, sums are. Troubles get
    a Redis process of their own where there is one, since an embedded Redis cannot hang.

    Raises:
        OSError: the port is taken.
    """
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(own_redis()) if play.is_troubled else None
        settings = demo_settings(port, redis.url if redis else "")
        configure_logging("error" if play.is_troubled else settings.log.level, settings.log.format)
        server = guest_server_for(create_app(settings), settings)
        url = await _start(stack, server)
        if redis is not None:
            await stack.enter_async_context(_sweeper(settings))
        config = FleetConfig(
            count=play.sfus,
            regions=REGIONS[: play.sfus],
            gateway_urls=(url,),
            registration_key=settings.registration.key[0],
            ping_interval_ms=_PING_INTERVAL_MS,
            proxy=True,
        )
        for line in _welcome(url, play, settings):
            say(line)
        await perform(config, play, settings.key[0], redis, say)
        say("\nStopping: the SFUs sign off, then the gateway ends.")


@asynccontextmanager
async def _sweeper(settings: Settings) -> AsyncIterator[None]:
    client = connect(settings.redis)
    try:
        registry = Registry.from_settings(client, settings).patient()
        async with (
            Forwarder(settings.address_guard()) as forwarder,
            Sweeper(registry, forwarder).running(),
        ):
            yield
    finally:
        await close_client(client)


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


def _token_of(settings: Settings) -> str:
    """The admin token, to be shown: it was made for this run and ends with it."""
    return settings.admin_token.get_secret_value() if settings.admin_token else ""


def _looks(url: str) -> list[str]:
    """What an operator would ask, in another terminal."""
    questions = ("why", "top", "events --follow", "sfu list --sort state")
    return ["In another terminal:", "", *(f"  sfu-gateway {each} --gateway {url}" for each in questions), ""]


def _welcome(url: str, play: Play, settings: Settings) -> list[str]:
    token = settings.key[0].sign(claims_of_call(1, _TOKEN_LIFE_SECONDS))
    return [
        f"Gateway on {url} with {play.sfus} simulated SFUs in {', '.join(REGIONS[: play.sfus])}.",
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
        *(_looks(url) if play.is_troubled else []),
        *(["Keys:", "", *key_help(), ""] if play.takes_keys else []),
        "Ctrl-C ends it. Meanwhile a simulated Odoo makes calls:",
        "",
    ]
