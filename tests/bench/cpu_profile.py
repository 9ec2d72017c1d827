"""Where a replica's CPU goes while it creates channels, by samples of its stack (py-spy) and by its own metrics."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tests.bench.http_load import drive_hard
from tests.bench.requests_of import channel_requests
from tests.bench.revisions import SFUS
from tests.bench.rig import Rig, Target, sfus
from tests.bench.throughput import IN_FLIGHT, MOST_CHANNELS_PER_S, channel_rate

SAMPLES_PER_S: Final = 200

GROUPS: Final[dict[str, str]] = {
    "HTTP server: uvicorn, httptools": r"/uvicorn/|/app/server/",
    "routing and middleware: Starlette and ours": (
        r"/starlette/|/app/api/|/app/(main|lifespan)\.py|/app/dashboard/counters\.py"
    ),
    "tokens and keys: joserfc, cryptography": (
        r"/joserfc/|/cryptography/|/(hmac|base64)\.py|/app/(crypto|auth)/"
    ),
    "forwarding: HTTP client": (r"/aiohttp/|/yarl/|/multidict/|/app/upstream/"),
    "Redis: redis-py and our calls": (
        r"/redis/|/asyncio/streams\.py|/app/registry/(scripts|pipelining|client|availability)\.py"
    ),
    "logging: structlog": r"/structlog/|/logging/|/app/logs\.py",
    "metrics": r"/prometheus_client/|/app/telemetry/|/app/channels/observer\.py",
    "placing: our own steps": r"/?app/",
}
"""Which files are whose. A stack belongs to its innermost frame that is anybody's: `json` called by us is ours."""

LOOP: Final = "event loop: polling, sockets"
"""Stacks without a frame of anybody's: uvloop runs, and no Python."""

_MOST_ALONE_PER_S: Final = 3_000

_RUNNERS: Final = re.compile(r"asyncio/runners\.py")
_FRAME: Final = re.compile(r"^(?P<name>.*) \((?P<file>[^()]*?)(?::\d+)?\)$")
_PHASE: Final = re.compile(
    r'^sfu_gateway_phase_duration_seconds_(sum|count)\{phase="(\w+)"\} (\S+)$', re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Profile:
    """Where time goes."""

    cpu_us: float
    """CPU of one channel request, measured without the profiler."""
    shares: dict[str, float]
    """Of the samples, by group; empty where there is no profiler."""
    phases_ms: dict[str, float]
    """Real time of each phase of one request that is alone on the replica, on average."""
    whole_ms: float


def group_of(stack: Sequence[str]) -> str:
    """Return whose CPU a stack is; frames are `name (file:line)`, the outermost first."""
    starts = [number for number, frame in enumerate(stack) if _RUNNERS.search(frame)]
    inside = stack[starts[-1] + 1 :] if starts else stack
    for frame in reversed(inside):
        found = _FRAME.match(frame)
        file = "/" + found["file"] if found else ""
        for group, pattern in GROUPS.items():
            if re.search(pattern, file):
                return group
    return LOOP


def shares_of(lines: Iterable[str]) -> dict[str, float]:
    """Return each group's share of the samples in py-spy's raw format: frames joined by `;`, and a count."""
    counts = Counter[str]()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        counts[group_of(stack.split(";"))] += int(count)
    total = counts.total()
    return {group: count / total for group, count in counts.most_common()}


def phases_of(metrics: str) -> dict[str, tuple[float, float]]:
    """Return seconds and number of each phase so far, from the text of `/metrics`."""
    found: dict[str, dict[str, float]] = {}
    for what, phase, value in _PHASE.findall(metrics):
        found.setdefault(phase, {})[what] = float(value)
    return {phase: (figures["sum"], figures["count"]) for phase, figures in found.items()}


def measure_profile(rig: Rig, seconds: int) -> Profile:
    """Profile new placements on one replica."""
    rig.register("profile", sfus(SFUS, port := rig.stand_in()))
    replica = rig.replica("profile")
    channel_rate(replica, 1, IN_FLIGHT)
    cpu_us = 1e6 / channel_rate(replica, max(1, seconds // 2), IN_FLIGHT).per_cpu_s
    shares = _sampled(rig, replica, seconds)
    rig.register("alone", sfus(1, port))
    phases_ms, whole_ms = _alone(rig.replica("alone"))
    return Profile(cpu_us, shares, phases_ms, whole_ms)


def _sampled(rig: Rig, replica: Target, seconds: int) -> dict[str, float]:
    """Sample stacks under load; nothing where py-spy is missing or may not look."""
    profiler = shutil.which("py-spy") or shutil.which(str(Path(sys.executable).with_name("py-spy")))
    if profiler is None:
        return {}
    file = rig.directory / "stacks.txt"
    argv = [profiler, "record", "--pid", str(replica.pid), "--duration", str(seconds), "--full-filenames"]
    argv += ["--format", "raw", "--rate", str(SAMPLES_PER_S), "--output", str(file)]
    with ThreadPoolExecutor(1) as threads:
        # The load is there before the profiler and after it.
        calls = channel_requests(MOST_CHANNELS_PER_S * (seconds + 2))
        load = threads.submit(drive_hard, replica.url, calls, seconds + 2, IN_FLIGHT)
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        load.result()
    if done.returncode != 0 or not file.exists():
        return {}
    return shares_of(file.read_text(encoding="utf-8").splitlines())


def _alone(replica: Target, seconds: int = 2) -> tuple[dict[str, float], float]:
    """Ask one at a time; return the phases' average times and the whole request's, in ms."""
    drive_hard(replica.url, channel_requests(_MOST_ALONE_PER_S), 1, 1)
    before = phases_of(httpx.get(f"{replica.url}/metrics", trust_env=False).text)
    done = drive_hard(replica.url, channel_requests(_MOST_ALONE_PER_S * seconds), seconds, 1)
    after = phases_of(httpx.get(f"{replica.url}/metrics", trust_env=False).text)
    phases = {
        phase: (took - before[phase][0]) / (count - before[phase][1]) * 1000
        for phase, (took, count) in after.items()
    }
    return phases, done.seconds / done.answered * 1000
