import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support.simulated import Clock
from workers.agent.usage import Cgroup, PsutilHost, Usage, UsageMeter, cgroup_at, shared_cgroup

GIB = 1 << 30
BEYOND_ANY_MACHINE = 9223372036854771712
"""What version 1 says where there is no limit."""


@dataclass
class FakeHost:
    """A machine of 8 cores and 16 GiB, half busy."""

    def cpu(self) -> float:
        return 0.5

    def cores(self) -> int:
        return 8

    def memory(self) -> float:
        return 0.25

    def memory_bytes(self) -> int:
        return 16 * GIB


def write(root: Path, **files: str) -> None:
    """Write files; `__` in a name is a directory, and `_dot_` a dot."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


def version_2(root: Path, cpu_s: float = 10, cpu_max: str = "200000 100000", memory_max: str = "") -> Cgroup:
    write(
        root,
        cgroup_dot_controllers="cpu memory",
        cpu_dot_max=cpu_max,
        cpu_dot_stat=f"usage_usec {cpu_s * 1e6:.0f}\nuser_usec 1",
        memory_dot_max=memory_max or str(4 * GIB),
        memory_dot_current=str(2 * GIB),
        memory_dot_stat=f"anon 1\ninactive_file {GIB}",
    )
    return cgroup_at(root)


def version_1(root: Path, cpu_s: float = 10, cpu_max: str = "200000 100000", memory_max: str = "") -> Cgroup:
    quota, period = ("-1", "100000") if cpu_max.startswith("max") else cpu_max.split()
    write(
        root,
        cpu__cpu_dot_cfs_quota_us=quota,
        cpu__cpu_dot_cfs_period_us=period,
        cpuacct__cpuacct_dot_usage=f"{cpu_s * 1e9:.0f}",
        memory__memory_dot_limit_in_bytes=str(
            BEYOND_ANY_MACHINE if memory_max == "max" else memory_max or 4 * GIB
        ),
        memory__memory_dot_usage_in_bytes=str(2 * GIB),
        memory__memory_dot_stat=f"cache 1\ntotal_inactive_file {GIB}",
    )
    return cgroup_at(root)


versions = pytest.mark.parametrize("write_group", [version_1, version_2])


def meter_of(cgroup: Cgroup | None, clock: Clock) -> UsageMeter:
    return UsageMeter(cgroup, host=FakeHost(), clock=clock)


@versions
def test_usage_counts_against_the_limits_of_the_control_group(
    write_group: Callable[..., Cgroup], tmp_path: Path
) -> None:
    clock = Clock()
    meter = meter_of(write_group(tmp_path, cpu_s=10), clock)
    clock.now += 10
    write_group(tmp_path, cpu_s=15)  # 5 of the 20 CPU seconds that two cores have in ten
    assert meter.read() == Usage(cpu=0.25, memory=0.25)  # 1 of 4 GiB: cached files do not count
    assert meter.describe() == "CPU of 2 cores, memory of 4096 MiB"


@versions
def test_each_reading_starts_where_the_last_one_ended(
    write_group: Callable[..., Cgroup], tmp_path: Path
) -> None:
    clock = Clock()
    meter = meter_of(write_group(tmp_path, cpu_s=0), clock)
    for cpu_s, expected in ((20.0, 1.0), (20.0, 0.0), (30.0, 0.5)):
        clock.now += 10
        write_group(tmp_path, cpu_s=cpu_s)
        assert meter.read().cpu == expected


@versions
def test_without_a_limit_the_machine_counts(write_group: Callable[..., Cgroup], tmp_path: Path) -> None:
    clock = Clock()
    meter = meter_of(write_group(tmp_path, cpu_max="max 100000", memory_max="max"), clock)
    clock.now += 10
    assert meter.read() == Usage(cpu=0.5, memory=0.25)
    assert meter.describe() == "CPU of the machine, memory of the machine"


@versions
def test_a_limit_above_the_machine_is_none(write_group: Callable[..., Cgroup], tmp_path: Path) -> None:
    clock = Clock()
    meter = meter_of(write_group(tmp_path, cpu_max="6400000 100000", memory_max=str(64 * GIB)), clock)
    clock.now += 10
    assert meter.read() == Usage(cpu=0.5, memory=0.25)


@versions
def test_cpu_and_memory_are_decided_apart(write_group: Callable[..., Cgroup], tmp_path: Path) -> None:
    clock = Clock()
    meter = meter_of(write_group(tmp_path, memory_max="max"), clock)
    clock.now += 10
    assert meter.read() == Usage(cpu=0.0, memory=0.25)
    assert meter.describe() == "CPU of 2 cores, memory of the machine"


@versions
def test_more_than_the_limit_counts_as_all_of_it(write_group: Callable[..., Cgroup], tmp_path: Path) -> None:
    clock = Clock()
    meter = meter_of(write_group(tmp_path, cpu_s=0, memory_max=str(GIB // 2)), clock)
    clock.now += 1
    write_group(tmp_path, cpu_s=9, memory_max=str(GIB // 2))
    assert meter.read() == Usage(cpu=1.0, memory=1.0)


def test_the_control_group_of_a_whole_machine_has_no_limits(tmp_path: Path) -> None:
    write(tmp_path, cgroup_dot_controllers="cpu memory", cpu_dot_stat="usage_usec 1")
    assert meter_of(cgroup_at(tmp_path), Clock()).read() == Usage(cpu=0.5, memory=0.25)


@versions
def test_a_control_group_that_disappears_leaves_the_machine(
    write_group: Callable[..., Cgroup], tmp_path: Path
) -> None:
    clock, root = Clock(), tmp_path / "group"
    meter = meter_of(write_group(root), clock)
    root.rename(tmp_path / "gone")
    clock.now += 10
    assert meter.read() == Usage(cpu=0.5, memory=0.25)


@versions
def test_a_container_s_group_counts_when_the_sfu_is_in_it_too(
    write_group: Callable[..., Cgroup], tmp_path: Path
) -> None:
    write_group(tmp_path)
    ancestors = [process.pid for process in psutil.Process().parents()]
    own = "\n".join(str(number) for number in [os.getpid(), *ancestors])
    directory = "memory__" if write_group is version_1 else ""
    write(tmp_path, **{f"{directory}cgroup_dot_procs": own})
    assert shared_cgroup(tmp_path) is None
    write(tmp_path, **{f"{directory}cgroup_dot_procs": f"{own}\n0"})
    found = shared_cgroup(tmp_path)
    assert found is not None
    assert found.cpu_limit_cores() == 2


def test_where_there_are_no_control_groups_there_is_none(tmp_path: Path) -> None:
    assert shared_cgroup(tmp_path) is None


def test_without_a_control_group_the_machine_counts() -> None:
    assert meter_of(None, Clock()).read() == Usage(cpu=0.5, memory=0.25)


def test_this_machine_has_figures() -> None:
    host = PsutilHost()
    assert host.cores() >= 1
    assert host.memory_bytes() > 0
    usage = UsageMeter(None, host=host).read()
    assert 0 <= usage.cpu <= 1
    assert 0 < usage.memory <= 1
