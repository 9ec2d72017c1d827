"""Two network namespaces with one cable between them, which can be pulled: a real partition.

Needs root and Debian's iproute2. Nothing outside the two namespaces is reachable from them.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.processes import Process, Readiness


@dataclass(frozen=True, slots=True)
class Side:
    """One namespace: a host with an address of its own."""

    name: str
    address: str

    def process(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        ready: Readiness | None = None,
        ready_seconds: float = 20,
    ) -> Process:
        """Describe a process on this side."""
        words = ["ip", "netns", "exec", self.name, *argv]
        return Process(words, log=log, env=env, ready=ready, ready_seconds=ready_seconds)

    def run(self, *words: str | Path) -> str:
        """Run a short command on this side; return its output, empty when it fails."""
        argv = ["ip", "netns", "exec", self.name, *map(str, words)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        return done.stdout if done.returncode == 0 else ""


@dataclass(frozen=True, slots=True)
class TwoSides:
    """Both namespaces and the cable."""

    left: Side
    right: Side

    def pull_cable(self) -> None:
        """Part the sides: packets vanish, nobody is told."""
        _ip("-n", self.left.name, "link", "set", "cable", "down")

    def plug_cable(self) -> None:
        """Join the sides again."""
        _ip("-n", self.left.name, "link", "set", "cable", "up")


@contextmanager
def two_sides() -> Iterator[TwoSides]:
    """Make the namespaces for the block. Skips the test where that is not permitted."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2 (Debian, Ubuntu: apt-get install iproute2)")
    left = Side(f"left-{os.getpid()}", "10.77.0.1")
    right = Side(f"right-{os.getpid()}", "10.77.0.2")
    try:
        _ip("netns", "add", left.name)
    except subprocess.CalledProcessError:
        pytest.skip("network namespaces are not permitted here")
    try:
        _ip("netns", "add", right.name)
        _ip("-n", left.name, "link", "add", "cable", "type", "veth", "peer", "cable", "netns", right.name)
        for side in (left, right):
            _ip("-n", side.name, "address", "add", f"{side.address}/24", "dev", "cable")
            for device in ("lo", "cable"):
                _ip("-n", side.name, "link", "set", device, "up")
        yield TwoSides(left, right)
    finally:
        for side in (left, right):
            subprocess.run(["ip", "netns", "delete", side.name], capture_output=True, check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], capture_output=True, check=True)
