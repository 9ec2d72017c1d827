"""The sidecar of an unchanged Odoo SFU: `python -m workers.agent`, or `sfu-gateway agent`.

Before the first heartbeat, and again when the SFU was started anew, it checks that calls can succeed: `checks.py`.
What only a channel shows (`PROXY`, the public URL) the gateway sees at the first call, and the agent logs it then.

It asks the SFU for its figures, measures CPU and memory, and sends the heartbeats that the SFU itself does
not send (roadmap phase 1). It keeps nothing: whatever was restarted or lost, the next heartbeat mends it.

**An SFU whose port is closed is reported as gone** after two seconds: its process has ended, and its calls with it.
The report ends the registration with the reason `unreachable`, which raises the alarm that a sign-off does not raise.

**An SFU that does not answer is not reported; the agent falls silent.** An SFU whose API stalls for a moment may
still carry calls, whose issuers would be placed elsewhere and split. Silent, the SFU is out at the first failed
request (the gateway marks it down until its next heartbeat), else after `unhealthy_threshold`, as a `down` event with
the reason `expired`; a gateway that rescues calls asks the SFU itself sooner.

**The operator's drain is not echoed.** `draining` in a reply is the gateway's to remember: an agent that sent
it back would turn it into the SFU's own wish, and `resume` would have no effect.
"""

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from random import Random
from typing import Final

from app import __version__
from app.background import in_background
from app.errors import SETTINGS_EXIT_CODE, SettingsError
from app.systemd import ready
from app.upstream.addresses import AddressGuard
from app.upstream.client import Forwarder, ForwardError
from app.upstream.stats import ChannelStats, sessions_in
from workers.agent.checks import check_all, check_gateway
from workers.agent.logs import configure_logging
from workers.agent.server import Page, Pages, serving
from workers.agent.settings import AgentSettings, load_agent_settings
from workers.agent.sfu import LocalSfu, ProcessWatch, WrongKey
from workers.agent.usage import Cgroup, Usage, UsageMeter, cgroup_at, shared_cgroup
from workers.gateway_link import GatewayLink, HeartbeatFailed, Payload, posting
from workers.heartbeats import Heartbeats

GATEWAY_TIMEOUT_SECONDS: Final = 2.0
"""For one heartbeat to one gateway; two that hang still leave time to sign off at a third."""

FIRST_MEASURE_SECONDS: Final = 0.3
"""The first heartbeat's CPU usage is the mean over this long; reporting 0 would draw calls to a busy SFU."""

FIRST_MEASURES: Final = 5
"""Where an SFU has just started, the machine is busy for a moment. While the mean is above `BUSY`, it is taken anew,
up to so often, and the lowest counts: a first report of 1 would keep the SFU out for an interval."""

BUSY: Final = 0.8

DRAIN_LOOK_SECONDS: Final = 1.0
"""Between two looks at the sessions of an SFU that drains."""

WATCH_SECONDS: Final = 1.0
"""Between two looks at whether the SFU's port is open."""

LOOKS_UNTIL_GONE: Final = 3
"""Looks in a row that find the port closed until the SFU is reported as gone."""

logger = logging.getLogger("sfu-agent")


class Agent:
    """Speaks for one SFU. `sfu_is_up` says whether it answered last time."""

    def __init__(
        self,
        settings: AgentSettings,
        client: Forwarder,
        *,
        new_meter: Callable[[], UsageMeter],
        random: Random,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        watch: ProcessWatch | None = None,
    ) -> None:
        """`clock` is in seconds since the epoch; `random` makes the jitter.

        `new_meter` is called when the SFU has answered once: then it runs, and can be found.
        """
        self.sfu_is_up = False
        self.sfu = LocalSfu(client, settings, clock=clock)
        post = posting(client, GATEWAY_TIMEOUT_SECONDS)
        link = GatewayLink(settings.gateway_urls, post, settings.registration_key, settings.ping_interval_ms)
        self.heartbeats = Heartbeats(self._report, link, clock=clock, random=random, measure=self._measure)
        self._settings = settings
        self._new_meter = new_meter
        self._meter: UsageMeter | None = None
        self._clock = clock
        self._pause = pause
        self._watch = watch or ProcessWatch(settings)
        self._is_checked = False
        self._channels: tuple[ChannelStats, ...] = ()
        self._is_draining = False
        self._usage = Usage(0.0, 0.0)

    async def drain(self, limit_s: float) -> None:
        """Report the SFU as draining until its last session has left, for `limit_s` seconds at most."""
        self._is_draining = True
        logger.info("draining for %g s at most", limit_s)
        await self.heartbeats.beat()
        ends_at = self._clock() + limit_s
        while (left := ends_at - self._clock()) > 0 and sessions_in(self._channels):
            await self._pause(min(DRAIN_LOOK_SECONDS, left))
            with contextlib.suppress(HeartbeatFailed):
                await self.look()
        logger.info("%d sessions are left", sessions_in(self._channels))

    async def watch(self) -> None:
        """Report an SFU that is gone, and one that is back, at once and not when the next heartbeat is due."""
        closed_looks, had_ended, is_reported = 0, False, False
        while True:
            await self._pause(WATCH_SECONDS)
            has_ended = self._watch.has_ended()
            if await self.sfu.is_gone():
                closed_looks += 1
                if closed_looks >= LOOKS_UNTIL_GONE and self.heartbeats.taken_count and not is_reported:
                    self._channels = ()  # its calls have gone with it: a drain need not wait for them
                    is_reported = await self.heartbeats.report_gone()
                continue
            if closed_looks or (has_ended and not had_ended):
                self.heartbeats.hurry()
            closed_looks, had_ended, is_reported = 0, has_ended, False

    def pages(self) -> Pages:
        """Return what the agent's own port shows."""
        return {"/livez": self._livez, "/readyz": self._readyz, "/metrics": self._metrics}

    async def look(self) -> None:
        """Ask the SFU for its figures. Raises `HeartbeatFailed` when it does not answer as one."""
        try:
            channels = await self.sfu.channels()
        except ForwardError as error:
            self.sfu_is_up = False
            raise HeartbeatFailed(f"the SFU does not answer, so it is not reported: {error}") from error
        self.sfu_is_up = True
        if self._watch.look(channels):
            logger.warning("the SFU was started again in place: the calls that it had are gone")
            self._is_checked = False
        self._channels = channels

    async def _measure(self) -> None:
        """Bring the report up to date. Raises `HeartbeatFailed` when the SFU must not be reported."""
        await self.look()
        if not self._is_checked:
            await self._check()
            self._is_checked = True
        if self._meter is None:
            self._meter = self._new_meter()
            logger.info("measuring %s", self._meter.describe())
            self._usage = await first_usage(self._meter, self._pause)
        else:
            self._usage = self._meter.read()

    async def _check(self) -> None:
        """Keep an SFU out to which no call can succeed. Raises `HeartbeatFailed`."""
        try:
            clock = await self.sfu.check_key()
        except (WrongKey, ForwardError) as error:
            raise HeartbeatFailed(f"the SFU is not reported: {error}") from error
        if clock.problem:
            logger.warning("%s", clock.problem)
        await check_gateway(self.heartbeats, self._settings.address)

    def _report(self) -> Payload:
        settings = self._settings
        optional = {"maxSessions": settings.max_sessions, "publicUrl": settings.public_url}
        return {
            "address": settings.address,
            "region": settings.region,
            "key": settings.auth_key.get_secret_value(),
            "channels": len(self._channels),
            "sessions": sessions_in(self._channels),
            "cpuUsage": self._usage.cpu,
            "memoryUsage": self._usage.memory,
            "instance": self._watch.instance,
            **({"draining": True} if self._is_draining else {}),
            **{name: value for name, value in optional.items() if value is not None},
        }

    def _livez(self) -> Page:
        return Page(HTTPStatus.OK, "ok\n")

    def _readyz(self) -> Page:
        if not self.sfu_is_up:
            return Page(HTTPStatus.SERVICE_UNAVAILABLE, "the SFU does not answer\n")
        if not self.heartbeats.are_taken:
            why = self.heartbeats.failure or "none was sent yet"
            return Page(HTTPStatus.SERVICE_UNAVAILABLE, f"no gateway takes the heartbeats: {why}\n")
        return Page(HTTPStatus.OK, "ok\n")

    def _metrics(self) -> Page:
        """The Prometheus text format, version 0.0.4."""
        beats = self.heartbeats
        families = [
            _family("sfu_up", "gauge", "Whether the SFU answered last time.", int(self.sfu_is_up)),
            _family("heartbeats_total", "counter", "Heartbeats that a gateway took.", beats.taken_count),
            _family("heartbeat_failures_total", "counter", "Times none was taken.", beats.failed_count),
            _family("told_to_drain", "gauge", "Whether the gateway drains it.", int(beats.is_told_to_drain)),
        ]
        if beats.taken_at is not None:
            age = max(0.0, self._clock() - beats.taken_at)
            families.append(_family("last_heartbeat_age_seconds", "gauge", "Since one was taken.", age))
        return Page(HTTPStatus.OK, "".join(families), "text/plain; version=0.0.4; charset=utf-8")


async def first_usage(meter: UsageMeter, pause: Callable[[float], Awaitable[None]]) -> Usage:
    """Return the usage for the first report: the lowest of a few means, unless the first one is low already."""
    await pause(FIRST_MEASURE_SECONDS)
    usage = meter.read()
    for _ in range(FIRST_MEASURES - 1):
        if usage.cpu <= BUSY:
            break
        await pause(FIRST_MEASURE_SECONDS)
        usage = min(usage, meter.read(), key=lambda measured: measured.cpu)
    return usage


def new_agent(settings: AgentSettings, client: Forwarder) -> Agent:
    """Return the agent that `settings` describe."""
    return Agent(
        settings,
        client,
        new_meter=lambda: UsageMeter(_cgroup(settings)),
        random=Random(),  # noqa: S311 - jitter, no secret
    )


def new_client() -> Forwarder:
    """Return the client for the SFU and the gateways: the operator named them, so they may be link-local."""
    return Forwarder(AddressGuard(allow_link_local=True))


async def run(settings: AgentSettings) -> None:
    """Report until SIGTERM or SIGINT, then sign off. Raises `OSError` when the agent's port is taken."""
    stopping, hurrying = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        (hurrying if stopping.is_set() else stopping).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    async with new_client() as client:
        agent = new_agent(settings, client)
        async with serving(agent.pages(), settings.agent_bind, settings.agent_port):
            logger.info(
                "agent %s, speaking for %s in region %s to %s, %s",
                __version__,
                settings.address,
                settings.region,
                ", ".join(settings.gateway_urls),
                "with a registration key" if settings.registration_key else "without a registration key",
            )
            agent.heartbeats.start(stopping.set)
            async with in_background(agent.watch(), stopping.set), ready():
                await stopping.wait()
                if settings.drain_s:
                    await _drain(agent, settings.drain_s, hurrying)
            await agent.heartbeats.sign_off()


async def _drain(agent: Agent, limit_s: float, hurrying: asyncio.Event) -> None:
    async with in_background(agent.drain(limit_s), hurrying.set):
        await hurrying.wait()


async def check(settings: AgentSettings, say: Callable[[str], object]) -> bool:
    """Check everything that a call needs, say what was found, and return whether the SFU could join."""
    is_good = True
    async with new_client() as client:
        agent = new_agent(settings, client)
        async for finding in check_all(agent.sfu, agent.heartbeats, agent.look, settings.address):
            verdict = ("warn" if finding.is_warning else "FAIL") if finding.problem else "ok"
            is_good = is_good and verdict != "FAIL"
            say(f"{verdict:<5} {finding.name}" + (f"\n      -> {finding.problem}" if finding.problem else ""))
    return is_good


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the agent, or with `--check` only check.

    Exits with 3 for wrong settings, which it names, with 1 when its port is taken or a check has failed.
    """
    try:
        settings = load_agent_settings()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(SETTINGS_EXIT_CODE) from None
    configure_logging(settings.log_format)
    if "--check" in (sys.argv[1:] if arguments is None else arguments):
        raise SystemExit(0 if asyncio.run(check(settings, print)) else 1)
    try:
        asyncio.run(run(settings))
    except OSError as error:
        where = f"{settings.agent_bind} port {settings.agent_port}"
        sys.stderr.write(f"SFU_AGENT_BIND, SFU_AGENT_PORT: cannot listen on {where}: {error.strerror}\n")
        raise SystemExit(1) from None


def _cgroup(settings: AgentSettings) -> Cgroup | None:
    match settings.cgroup:
        case "none":
            return None
        case None:
            return shared_cgroup()
        case root:
            return cgroup_at(root)


def _family(name: str, kind: str, text: str, value: float) -> str:
    full = f"sfu_agent_{name}"
    return f"# HELP {full} {text}\n# TYPE {full} {kind}\n{full} {value}\n"
