"""Refusals in the log: the first of a kind has its line; those of the next second are summed in one."""

import asyncio
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from app.logs import logger

log = logger(__name__)

SUMMED_OVER_S: Final = 1.0

_TRACED: Final = frozenset({"internal", "all_failed", "deadline", "refused_by_sfu", "replica_fault"})
"""Codes of requests for which SFUs were asked, or that are a defect: each has its line, whose id others share."""


class Kind(NamedTuple):
    """What is summed."""

    route: str
    status: int
    code: str


@dataclass(slots=True)
class RefusalLog:
    """Which refusals have a line of their own."""

    _unlogged: dict[Kind, int] = field(default_factory=dict)
    _last_ids: dict[Kind, str] = field(default_factory=dict)

    def is_summed(self, route: str | None, status: int, code: str | None, request_id: str) -> bool:
        """Return whether a request is counted for a later line, and needs none of its own."""
        if status < 400 or code is None or code in _TRACED:
            return False
        kind = Kind(route or "", status, code)
        if kind in self._unlogged:
            self._unlogged[kind] += 1
            self._last_ids[kind] = request_id
            return True
        self._wait(kind)
        return False

    def _wait(self, kind: Kind) -> None:
        self._unlogged[kind] = 0
        asyncio.get_running_loop().call_later(SUMMED_OVER_S, self._sum, kind)

    def _sum(self, kind: Kind) -> None:
        count = self._unlogged.pop(kind)
        if not count:
            return
        log.warning(
            "requests_refused",
            path=kind.route or "(no route)",
            status=kind.status,
            code=kind.code,
            count=count,
            last_request_id=self._last_ids.pop(kind),
        )
        self._wait(kind)
