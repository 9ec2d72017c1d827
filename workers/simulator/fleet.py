"""Many simulated SFUs in one process and one event loop, for the demo, tests and load.

`python -m workers.simulator --sfus 20 --gateway http://127.0.0.1:8071` prints one JSON line per SFU when it
listens, and on SIGTERM or SIGINT signs all of them off and exits with 0.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import logging
import os
import resource
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from types import TracebackType
from typing import Any, Final, Self

import uvloop

from app.crypto.tokens import Key
from app.upstream.addresses import AddressGuard
from app.upstream.client import Forwarder
from workers.gateway_link import GatewayLink, Payload, Post, posting
from workers.simulator.channels import People
from workers.simulator.sfu import SfuConfig, SimulatedSfu
from workers.simulator.tokens import Dialect

REGISTRATION_KEY_VARIABLE: Final = "SFU_GATEWAY_REGISTRATION__KEY"
KEY_BYTES: Final = 32
HEARTBEAT_TIMEOUT_SECONDS: Final = 5.0
HEARTBEAT_CONNECTIONS: Final = 64
"""Connections that all heartbeats of a fleet share; the others queue."""


@dataclass(frozen=True, slots=True)
class FleetConfig:
    """How many SFUs, and what they have in common.

    `regions` and `keys` are dealt out in turn; without `keys` each SFU makes its own. `base_port` 0 takes
    free ports, else they count up from it. Without `gateway_urls` no heartbeats are sent. `seed` makes people
    and jitter repeatable, not keys nor channel uuids. The rest: see `workers.simulator.sfu.SfuConfig`.
    """

    count: int = 5
    regions: tuple[str, ...] = ("eu-west",)
    keys: tuple[Key, ...] = ()
    gateway_urls: tuple[str, ...] = ()
    registration_key: Key | None = None
    ping_interval_ms: float = 10_000
    host: str = "127.0.0.1"
    base_port: int = 0
    max_sessions: int | None = None
    dialect: Dialect = "odoo"
    proxy: bool = False
    creation_delay_ms: float = 3.0
    people: People = field(default_factory=People)
    seed: int | None = None


class Fleet:
    """Running SFUs: `async with Fleet(config) as fleet` starts them, and signs them off at the end."""

    def __init__(
        self,
        config: FleetConfig,
        *,
        clock: Callable[[], float] = time.time,
        post: Post | None = None,
    ) -> None:
        """`clock` is in seconds since the epoch."""
        self.config = config
        self.sfus: list[SimulatedSfu] = []
        self._clock = clock
        self._post = post
        self._resources = contextlib.AsyncExitStack()
        self._shared_link: GatewayLink | None = None

    async def __aenter__(self) -> Self:
        """Listen everywhere, then send the first heartbeats. Raises `OSError` when a port is taken."""
        async with contextlib.AsyncExitStack() as started:
            link = self._shared_link = await self._link(started)
            started.push_async_callback(self._stop)
            self.sfus = [
                SimulatedSfu(sfu, random=self._random(index), clock=self._clock, link=link)
                for index, sfu in enumerate(sfu_configs(self.config))
            ]
            for sfu in self.sfus:
                await sfu.listen()
            self._resources = started.pop_all()
        for sfu in self.sfus:
            sfu.speak()
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Sign all off at the same time, and close what they shared."""
        await self._resources.aclose()

    async def add(self, region: str) -> SimulatedSfu:
        """Let one more SFU join, with a key and a port of its own."""
        one = replace(self.config, count=1, regions=(region,), keys=(), base_port=0)
        sfu = SimulatedSfu(
            sfu_configs(one)[0],
            random=self._random(len(self.sfus)),
            clock=self._clock,
            link=self._shared_link,
        )
        await sfu.start()
        self.sfus.append(sfu)
        return sfu

    def fill(self, channels: int) -> None:
        """Begin with calls: each SFU has up to so many channels, whose people come now."""
        for index, sfu in enumerate(self.sfus):
            dice = self._random(index)
            for number in range(dice.randint(channels // 4, channels)):
                sfu.channels.create("127.0.0.1", f"https://odoo.example.com:channel:{index}.{number}")

    async def _stop(self) -> None:
        await asyncio.gather(*(sfu.stop() for sfu in self.sfus))

    async def _link(self, resources: contextlib.AsyncExitStack) -> GatewayLink | None:
        config = self.config
        if not config.gateway_urls:
            return None
        post = self._post
        if post is None:
            client = await resources.enter_async_context(Forwarder(AddressGuard(allow_link_local=True)))
            post = _few_at_once(posting(client, HEARTBEAT_TIMEOUT_SECONDS))
        return GatewayLink(config.gateway_urls, post, config.registration_key, config.ping_interval_ms)

    def _random(self, index: int) -> Random:
        """Return dice of this SFU's own, so that what one does never depends on the others."""
        seed = self.config.seed
        return Random(None if seed is None else f"{seed}/{index}")  # noqa: S311 - people, not secrets


def sfu_configs(config: FleetConfig) -> list[SfuConfig]:
    """Return what each SFU of the fleet is."""
    regions = itertools.cycle(config.regions)
    keys = itertools.cycle(config.keys) if config.keys else _new_keys()
    return [
        SfuConfig(
            key=key,
            region=region,
            host=config.host,
            port=config.base_port and config.base_port + index,
            max_sessions=config.max_sessions,
            dialect=config.dialect,
            proxy=config.proxy,
            creation_delay_ms=config.creation_delay_ms,
            people=config.people,
        )
        for index, region, key in zip(range(config.count), regions, keys, strict=False)
    ]


def _new_keys() -> Iterator[Key]:
    while True:
        yield Key(secrets.token_bytes(KEY_BYTES))


def _few_at_once(post: Post) -> Post:
    """Limit a fleet's heartbeats that are under way, and so its connections."""
    places = asyncio.Semaphore(HEARTBEAT_CONNECTIONS)

    async def wait_and_post(url: str, payload: Payload, headers: Mapping[str, str]) -> Any:
        async with places:
            return await post(url, payload, headers)

    return wait_and_post


async def run(config: FleetConfig, *, show_keys: bool = False) -> None:
    """Run a fleet until SIGTERM or SIGINT, and say on standard output where each SFU listens."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with Fleet(config) as fleet:
        for sfu in fleet.sfus:
            sys.stdout.write(_listening_line(sfu, show_key=show_keys))
        sys.stdout.flush()
        await stopping.wait()


def _listening_line(sfu: SimulatedSfu, *, show_key: bool) -> str:
    line = {"address": sfu.address, "region": sfu.config.region, "pid": os.getpid()}
    if show_key:
        line["key"] = sfu.key_text
    return json.dumps(line) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line: `python -m workers.simulator --help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        config = _config(options, os.environ.get(REGISTRATION_KEY_VARIABLE, ""))
    except ValueError:
        parser.error("the registration key is not base64")
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    _allow_many_sockets()
    uvloop.run(run(config, show_keys=options.show_keys))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.simulator", description="Run simulated SFUs.")
    add, habits = parser.add_argument, People()
    add("--sfus", type=int, default=5, help="how many (default: %(default)s)")
    add("--gateway", action="append", default=[], help="gateway base URL; repeat it for more, tried in turn")
    add("--registration-key", default="", help=f"base64; better in {REGISTRATION_KEY_VARIABLE}, out of `ps`")
    add("--regions", default="eu-west", help="comma-separated, dealt out in turn (default: %(default)s)")
    add("--ping-interval-ms", type=float, default=10_000, help="until the gateway names another")
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--base-port", type=int, default=0, help="first port, counting up; 0 takes free ones")
    add("--max-sessions", type=int, help="sessions each SFU says it can hold")
    add("--dialect", choices=["odoo", "strict"], default="odoo", help="odoo/sfu or o-sfu")
    add("--proxy", action="store_true", help="believe X-Forwarded-* headers")
    add("--creation-delay-ms", type=float, default=3.0, help="time that a new channel takes")
    add("--people", type=float, default=habits.per_channel, help="people per channel on average; 0 for none")
    add("--join-seconds", type=float, default=habits.join_seconds, help="time over which they join")
    add("--stay-seconds", type=float, default=habits.stay_seconds, help="time they stay on average")
    add("--seed", type=int, help="makes people and jitter repeatable")
    add("--show-keys", action="store_true", help="print each SFU's key too; for tests only")
    return parser


def _config(options: argparse.Namespace, environment_key: str) -> FleetConfig:
    """Return the fleet of a command line. Raises `ValueError` when the registration key is not base64."""
    key_text = options.registration_key or environment_key
    return FleetConfig(
        count=options.sfus,
        regions=tuple(options.regions.split(",")),
        gateway_urls=tuple(options.gateway),
        registration_key=Key.from_base64(key_text) if key_text else None,
        ping_interval_ms=options.ping_interval_ms,
        host=options.host,
        base_port=options.base_port,
        max_sessions=options.max_sessions,
        dialect=options.dialect,
        proxy=options.proxy,
        creation_delay_ms=options.creation_delay_ms,
        people=People(options.people, options.join_seconds, options.stay_seconds),
        seed=options.seed,
    )


def _allow_many_sockets() -> None:
    """Raise the limit of open files to what the system allows: each SFU and each caller takes some."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
