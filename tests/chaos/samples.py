"""What processes and their Redis hold, sampled over time, and whether it grows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

import psutil

from tests.support.processes import Process
from tests.support.redis_groups import RedisGroup


@dataclass(frozen=True, slots=True)
class Growth:
    """A figure's level in the first and in the second half of a time."""

    first: float
    second: float

    @property
    def more(self) -> float:
        """By how much the second level is above the first; negative: below."""
        return self.second - self.first

    def is_within(self, share: float, amount: float) -> bool:
        """Whether it grew by at most that share, or that amount, whichever is more."""
        return self.more <= max(share * self.first, amount)


@dataclass(slots=True)
class Samples:
    """Samples of some processes and of a Redis: `take` them at even times."""

    processes: Mapping[str, Process]
    redis_group: RedisGroup
    series: dict[str, list[float]] = field(default_factory=dict)

    def take(self) -> None:
        """Sample everything once. Memory is in MiB."""
        for name, process in self.processes.items():
            held = psutil.Process(process.pid)
            self._add(f"{name} memory", held.memory_info().rss / 2**20)
            self._add(f"{name} files", held.num_fds())
            self._add(f"{name} connections", len(held.net_connections("tcp")))
            self._add(f"{name} threads", held.num_threads())
        primary = self.redis_group.primary()
        self._add("keys", primary.call("DBSIZE"))
        self._add("redis memory", primary.call("INFO", "memory")["used_memory"] / 2**20)
        self._add("redis connections", primary.call("INFO", "clients")["connected_clients"])

    def growth(self, name: str) -> Growth:
        """Compare the halves of what was sampled of `name`, after the first quarter: everything warms up."""
        values = self.series[name]
        settled = values[len(values) // 4 :]
        middle = len(settled) // 2
        return Growth(median(settled[:middle]), median(settled[middle:]))

    def grown(self, kind: str, share: float, amount: float) -> list[str]:
        """Return the names, of those ending with `kind`, that grew by more."""
        return [
            name
            for name in self.series
            if name.endswith(kind) and not self.growth(name).is_within(share, amount)
        ]

    def _add(self, name: str, value: float) -> None:
        self.series.setdefault(name, []).append(float(value))
