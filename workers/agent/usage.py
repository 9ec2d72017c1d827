"""How busy the SFU's machine is: CPU and memory as fractions of what there is.

Where the SFU's control group has a limit, usage counts against it; where it has none, the whole machine's
usage is what the SFU will suffer from. CPU and memory are decided apart, and anew at each reading.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import psutil

OWN_ROOT: Final = Path("/sys/fs/cgroup")
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Usage:
    """Fractions from 0 to 1."""

    cpu: float
    memory: float


class Cgroup(Protocol):
    """A control group. None: not limited, or not to be read."""

    def cpu_limit_cores(self) -> float | None:
        """CPUs it may use at the same time."""
        ...

    def cpu_seconds(self) -> float | None:
        """CPU time it has used since it exists."""
        ...

    def memory_limit_bytes(self) -> float | None:
        """Memory at which it is killed."""
        ...

    def memory_bytes(self) -> float | None:
        """Memory it uses, without cached files that the kernel would drop first, as the kubelet counts."""
        ...


class CgroupV2:
    """The unified hierarchy (kernel documentation, `cgroup-v2.rst`)."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def cpu_limit_cores(self) -> float | None:
        quota, _, period = (_text(self._root / "cpu.max") or "max").partition(" ")
        return _ratio(_number(quota), _number(period))

    def cpu_seconds(self) -> float | None:
        return _ratio(_entry(self._root / "cpu.stat", "usage_usec"), 1e6)

    def memory_limit_bytes(self) -> float | None:
        return _number(_text(self._root / "memory.max"))

    def memory_bytes(self) -> float | None:
        return _less(
            _number(_text(self._root / "memory.current")), _entry(self._root / "memory.stat", "inactive_file")
        )


class CgroupV1:
    """One hierarchy per controller (kernel documentation, `cgroup-v1`)."""

    def __init__(self, root: Path) -> None:
        self._cpu, self._cpuacct, self._memory = root / "cpu", root / "cpuacct", root / "memory"

    def cpu_limit_cores(self) -> float | None:
        quota = _number(_text(self._cpu / "cpu.cfs_quota_us"))
        if quota is None or quota < 0:
            return None
        return _ratio(quota, _number(_text(self._cpu / "cpu.cfs_period_us")))

    def cpu_seconds(self) -> float | None:
        return _ratio(_number(_text(self._cpuacct / "cpuacct.usage")), 1e9)

    def memory_limit_bytes(self) -> float | None:
        return _number(_text(self._memory / "memory.limit_in_bytes"))

    def memory_bytes(self) -> float | None:
        return _less(
            _number(_text(self._memory / "memory.usage_in_bytes")),
            _entry(self._memory / "memory.stat", "total_inactive_file"),
        )


def cgroup_at(root: Path) -> Cgroup:
    """Return the control group at `root`, of the version that is mounted there."""
    return CgroupV2(root) if (root / "cgroup.controllers").exists() else CgroupV1(root)


def shared_cgroup(root: Path = OWN_ROOT) -> Cgroup | None:
    """Return this container's control group at `root`, if another process is in it: then it is the SFU's too.

    One that holds only this process and those that started it is a sidecar's own and tells nothing of the SFU.
    """
    processes = _text(root / "cgroup.procs") or _text(root / "memory" / "cgroup.procs") or ""
    own = {os.getpid(), *(process.pid for process in psutil.Process().parents())}
    is_shared = any(int(number) not in own for number in processes.split())
    return cgroup_at(root) if is_shared else None


class Host(Protocol):
    """The whole machine."""

    def cpu(self) -> float:
        """Usage of all cores since the last call, 0 to 1."""
        ...

    def cores(self) -> int:
        """CPUs there are."""
        ...

    def memory(self) -> float:
        """Usage of memory, 0 to 1."""
        ...

    def memory_bytes(self) -> int:
        """Memory there is."""
        ...


class PsutilHost:
    """This machine, as psutil sees it: in a container still the whole machine."""

    def cpu(self) -> float:
        return psutil.cpu_percent() / 100

    def cores(self) -> int:
        return psutil.cpu_count() or 1

    def memory(self) -> float:
        return psutil.virtual_memory().percent / 100

    def memory_bytes(self) -> int:
        return psutil.virtual_memory().total


class UsageMeter:
    """Reads usage; CPU is the mean since the reading before, the first time since the meter was made."""

    def __init__(
        self, cgroup: Cgroup | None, *, host: Host | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` is in seconds."""
        self._cgroup = cgroup
        self._host = PsutilHost() if host is None else host
        self._clock = clock
        self._host.cpu()
        self._before = self._cpu_mark()

    def read(self) -> Usage:
        """Return the usage of this moment."""
        return Usage(cpu=_share(self._cpu()), memory=_share(self._memory()))

    def describe(self) -> str:
        """Say what usage is measured against, for the log."""
        cores, memory = self._cpu_limit(), self._memory_limit()
        return (
            f"CPU of {'the machine' if cores is None else f'{cores:g} cores'}, "
            f"memory of {'the machine' if memory is None else f'{memory / MIB:.0f} MiB'}"
        )

    def _cpu(self) -> float:
        of_host = self._host.cpu()
        (then, used_then), (now, used_now) = self._before, self._cpu_mark()
        self._before = now, used_now
        cores = self._cpu_limit()
        if cores is None or used_then is None or used_now is None or now <= then:
            return of_host
        return (used_now - used_then) / (now - then) / cores

    def _memory(self) -> float:
        limit = self._memory_limit()
        used = None if self._cgroup is None else self._cgroup.memory_bytes()
        return self._host.memory() if limit is None or used is None else used / limit

    def _cpu_mark(self) -> tuple[float, float | None]:
        return self._clock(), None if self._cgroup is None else self._cgroup.cpu_seconds()

    def _cpu_limit(self) -> float | None:
        """Cores; None where the machine is the limit."""
        limit = None if self._cgroup is None else self._cgroup.cpu_limit_cores()
        return limit if limit and limit < self._host.cores() else None

    def _memory_limit(self) -> float | None:
        """Bytes; None where the machine is the limit. Version 1 says so with a number beyond any machine."""
        limit = None if self._cgroup is None else self._cgroup.memory_limit_bytes()
        return limit if limit and limit < self._host.memory_bytes() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return None


def _number(text: str | None) -> float | None:
    """The number that `text` is; None for "max" and the like."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _entry(path: Path, name: str) -> float | None:
    """The number beside `name` in a file of names and numbers."""
    for line in (_text(path) or "").splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return _number(value)
    return None


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _less(whole: float | None, part: float | None) -> float | None:
    return None if whole is None else max(0.0, whole - (part or 0.0))


def _share(value: float) -> float:
    return round(min(1.0, max(0.0, value)), 4)
