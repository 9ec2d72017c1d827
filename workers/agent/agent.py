"""The sidecar of an unchanged Odoo SFU: `python -m workers.agent`, or `sfu-gateway agent`.

It asks the SFU for its figures, measures CPU and memory, and sends the heartbeats that the SFU itself does
not send (roadmap phase 1). It keeps nothing: whatever was restarted or lost, the next heartbeat mends it.

**An SFU that does not answer is not signed off; the agent falls silent.** A sign-off says that somebody meant
it: the gateway counts it as an expected loss and raises no alarm, which is wrong for a crash. And it takes
effect at once, though an SFU whose API stalls for a moment may still carry calls, whose issuers would be
placed elsewhere and split. Silent, the SFU is out at the first failed request (the gateway marks it down
until its next heartbeat), else after `unhealthy_threshold`, as a `down` event with the reason `expired`.

**The operator's drain is not echoed.** `draining` in a reply is the gateway's to remember: an agent that sent
it back would turn it into the SFU's own wish, and `resume` would have no effect.
"""

import asyncio
import json
import logging
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from random import Random
from typing import Any, Final

from workers.agent.client import MAX_ANSWER_BYTES, RequestFailed, fetch
from workers.agent.server import Page, Pages, serving
from workers.agent.settings import (
    SETTINGS_EXIT_CODE,
    AgentSettings,
    AgentSettingsError,
    load_agent_settings,
)
from workers.agent.usage import Cgroup, Usage, UsageMeter, cgroup_at, shared_cgroup
from workers.heartbeats import GatewayLink, HeartbeatFailed, Heartbeats, Payload

GATEWAY_TIMEOUT_SECONDS: Final = 2.0
"""For one heartbeat to one gateway; two that hang still leave time to sign off at a third."""

SFU_TIMEOUT_SECONDS: Final = 2.0
"""For one request to the SFU. A gateway gives it about as long to create a channel."""

MAX_STATS_BYTES: Final = 8 << 20

FIRST_MEASURE_SECONDS: Final = 0.2
"""The first heartbeat's CPU usage is the mean over this long; reporting 0 would draw calls to a busy SFU."""

logger = logging.getLogger("sfu-agent")


@dataclass(frozen=True, slots=True)
class Figures:
    """What the SFU says about itself."""

    channels: int
    sessions: int


class Agent:
    """Speaks for one SFU. `sfu_is_up` says whether it answered last time."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        new_meter: Callable[[], UsageMeter],
        random: Random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take what measures usage, `random` for the jitter, and a `clock` in seconds since the epoch.

        `new_meter` is called when the SFU has answered once: then it runs, and can be found.
        """
        self.sfu_is_up = False
        link = GatewayLink(
            settings.gateway_urls, post_heartbeat, settings.registration_key, settings.ping_interval_ms
        )
        self.heartbeats = Heartbeats(self._report, link, clock=clock, random=random, measure=self._measure)
        self._settings = settings
        self._new_meter = new_meter
        self._meter: UsageMeter | None = None
        self._clock = clock
        self._figures = Figures(0, 0)
        self._usage = Usage(0.0, 0.0)

    def pages(self) -> Pages:
        """Return what the agent's own port shows."""
        return {"/livez": self._livez, "/readyz": self._readyz, "/metrics": self._metrics}

    async def _measure(self) -> None:
        """Look at the SFU. Raises `HeartbeatFailed` when it does not answer as one."""
        url = self._settings.local_url
        try:
            await _get(f"{url}/v1/noop")
            self._figures = read_figures(await _get(f"{url}/v1/stats", MAX_STATS_BYTES))
        except RequestFailed as error:
            self.sfu_is_up = False
            raise HeartbeatFailed(f"the SFU does not answer, so it is not reported: {error}") from error
        self.sfu_is_up = True
        if self._meter is None:
            self._meter = self._new_meter()
            logger.info("measuring %s", self._meter.describe())
            await asyncio.sleep(FIRST_MEASURE_SECONDS)
        self._usage = self._meter.read()

    def _report(self) -> Payload:
        settings = self._settings
        optional = {"maxSessions": settings.max_sessions, "publicUrl": settings.public_url}
        return {
            "address": settings.address,
            "region": settings.region,
            "key": settings.auth_key.get_secret_value(),
            "channels": self._figures.channels,
            "sessions": self._figures.sessions,
            "cpuUsage": self._usage.cpu,
            "memoryUsage": self._usage.memory,
            **{name: value for name, value in optional.items() if value is not None},
        }

    def _livez(self) -> Page:
        return Page(HTTPStatus.OK, "ok\n")

    def _readyz(self) -> Page:
        if not self.sfu_is_up:
            return Page(HTTPStatus.SERVICE_UNAVAILABLE, "the SFU does not answer\n")
        if not self.heartbeats.are_taken:
            return Page(HTTPStatus.SERVICE_UNAVAILABLE, "no gateway takes the heartbeats\n")
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


def read_figures(stats: bytes) -> Figures:
    """Sum up `/v1/stats`: one entry per channel, each with `sessionsStats.count`. Raises `RequestFailed`."""
    try:
        counts = [int(entry["sessionsStats"]["count"]) for entry in json.loads(stats)]
    except (TypeError, KeyError, ValueError, RecursionError):
        raise RequestFailed("/v1/stats is not that of an SFU") from None
    return Figures(len(counts), sum(counts))


async def post_heartbeat(url: str, payload: Payload, headers: Mapping[str, str]) -> Any:
    """Send a heartbeat and return the reply (`workers.heartbeats.Post`). Raises `HeartbeatFailed`."""
    try:
        answer = await fetch(
            "POST",
            url,
            timeout_s=GATEWAY_TIMEOUT_SECONDS,
            headers={"Content-Type": "application/json", **headers},
            body=json.dumps(payload).encode(),
        )
    except RequestFailed as error:
        raise HeartbeatFailed(f"{url}: {error}") from error
    reply = _json(answer.body)
    if answer.status != HTTPStatus.OK:
        raise HeartbeatFailed(f"{url} answered {answer.status}{_code_of(reply)}")
    if reply is None:
        raise HeartbeatFailed(f"{url} did not answer as a gateway")
    return reply


async def run(settings: AgentSettings) -> None:
    """Report until SIGTERM or SIGINT, then sign off. Raises `OSError` when the agent's port is taken."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    agent = Agent(
        settings,
        new_meter=lambda: UsageMeter(_cgroup(settings)),
        random=Random(),  # noqa: S311 - jitter, no secret
    )
    async with serving(agent.pages(), settings.agent_bind, settings.agent_port):
        logger.info("speaking for %s", settings.address)
        agent.heartbeats.start()
        await stopping.wait()
        await agent.heartbeats.sign_off()


def main() -> None:
    """Run the agent. Exits with 3 for wrong settings, which it names, and with 1 when its port is taken."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = load_agent_settings()
    except AgentSettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(SETTINGS_EXIT_CODE) from None
    try:
        asyncio.run(run(settings))
    except OSError as error:
        sys.stderr.write(f"SFU_AGENT_PORT: cannot listen on port {settings.agent_port}: {error.strerror}\n")
        raise SystemExit(1) from None


def _cgroup(settings: AgentSettings) -> Cgroup | None:
    match settings.cgroup:
        case "none":
            return None
        case None:
            return shared_cgroup()
        case root:
            return cgroup_at(root)


async def _get(url: str, max_bytes: int = MAX_ANSWER_BYTES) -> bytes:
    answer = await fetch("GET", url, timeout_s=SFU_TIMEOUT_SECONDS, max_bytes=max_bytes)
    if answer.status != HTTPStatus.OK:
        raise RequestFailed(f"{url} answered {answer.status}")
    return answer.body


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _code_of(problem: Any) -> str:
    """The gateway's error code. Nothing else of a refusal is shown: it could repeat what was sent."""
    code = problem.get("code") if isinstance(problem, dict) else None
    is_code = isinstance(code, str) and len(code) <= 32 and code.replace("_", "").isalpha() and code.islower()
    return f" ({code})" if is_code else ""


def _family(name: str, kind: str, text: str, value: float) -> str:
    full = f"sfu_agent_{name}"
    return f"# HELP {full} {text}\n# TYPE {full} {kind}\n{full} {value}\n"
