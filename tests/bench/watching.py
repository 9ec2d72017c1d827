"""What processes of a benchmark take: CPU time and memory."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_STATUS_LINE: Final = re.compile(r"^(VmRSS|VmHWM):\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of a process, in bytes."""

    now: int
    most: int
    """Since it started: a pod's limit has to bear this."""


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU, user and system, that a process has taken so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def cpu_taken(pid: int, work: Callable[[], object]) -> float:
    """Return the seconds of CPU that a process takes while `work` is done."""
    before = cpu_s(pid)
    work()
    return cpu_s(pid) - before


def memory_of(pid: int) -> Memory:
    """Return what a process has resident, by the kernel's own book (Linux only)."""
    return memory_in(Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))


def memory_in(status: str) -> Memory:
    """Read the text of `/proc/<pid>/status`."""
    found = {name: int(kib) * 1024 for name, kib in _STATUS_LINE.findall(status)}
    return Memory(found["VmRSS"], found["VmHWM"])
