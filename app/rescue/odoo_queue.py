"""The queue of one Odoo: it gets one message at a time, and a dead Odoo delays no other."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import urlsplit

from app.errors import RegistryUnavailable
from app.logs import logger
from app.registry.losses import Loss, LostCall, RescueResult
from app.registry.registry import Registry
from app.rescue.message import MAX_UUID_CHARACTERS, ROUTE, rescue_token, results_in
from app.rescue.targets import Targets
from app.upstream.client import Forwarder, ForwardError

log = logger(__name__)

T = TypeVar("T")

_REGISTRY_PAUSE_S: Final = 1.0
_BUSY: Final = frozenset({408, 425, 429})


@dataclass(slots=True, eq=False)
class Job:
    """The calls of one loss that are neither settled nor given up."""

    loss: Loss
    before: str
    """The stream id of the event before the loss."""
    left: int = 0


@dataclass(slots=True, eq=False)
class Batch:
    """Calls of one loss and tenant that fit into one message."""

    job: Job
    tenant: str
    names: list[str]
    added_at: float = 0.0
    first_told_at: float | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how long an Odoo gets messages."""

    calls_per_second: float = 50.0
    answer_s: float = 35.0
    """Odoo needs up to 30 s for a message."""
    retry_for_s: float = 120.0
    first_pause_s: float = 1.0
    longest_pause_s: float = 30.0
    moving_ms: int = 60_000
    """How long a call of a drained SFU is placed on other SFUs: longer than an answer takes."""


class NotAnswered(Exception):
    """Odoo is not reachable or busy; the text says how."""


class Refused(Exception):
    """Odoo refuses for good; the text is the status."""


class OdooQueue:
    """The calls to announce to one Odoo."""

    def __init__(
        self,
        base_url: str,
        registry: Registry,
        forwarder: Forwarder,
        targets: Targets,
        pace: Pace,
        epoch: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`forwarder` reaches allowed Odoos only; `epoch` is in seconds since the epoch; `sleep` is a test's."""
        self._base_url = base_url
        self._host = urlsplit(base_url).netloc
        self._registry = registry
        self._forwarder = forwarder
        self._targets = targets
        self._pace = pace
        self._epoch = epoch
        self._sleep = sleep
        self._batches: deque[Batch] = deque()
        self._now = asyncio.get_running_loop().time
        self._next_at = 0.0
        self._silent_since: float | None = None
        self._pause_s = pace.first_pause_s

    def add(self, batch: Batch) -> None:
        """Append `batch`, whose calls its job counts already."""
        batch.added_at = self._now()
        self._batches.append(batch)

    @property
    def length(self) -> int:
        """How many calls wait."""
        return sum(len(batch.names) for batch in self._batches)

    async def run(self) -> None:
        """Announce all waiting calls."""
        while self._batches:
            batch = self._batches[0]
            if not self._is_given_up(batch):
                await self._tell(batch)
            self._batches.popleft()
            if not batch.names:
                continue
            if self._is_given_up(batch):
                await self._settle(batch, dict.fromkeys(batch.names, "failed"), "no answer in time")
                continue
            self._batches.append(batch)
            await self._sleep(self._pause_s)
            self._pause_s = min(self._pause_s * 2, self._pace.longest_pause_s)

    def _is_given_up(self, batch: Batch) -> bool:
        """Whether the time is over: since the first message about the batch, or since Odoo fell silent."""
        began = [batch.first_told_at] if batch.first_told_at is not None else []
        if self._silent_since is not None:
            began.append(max(self._silent_since, batch.added_at))
        return bool(began) and self._now() - min(began) >= self._pace.retry_for_s

    async def _tell(self, batch: Batch) -> None:
        """Send one message. Calls without an answer stay in `batch.names`."""
        loss = batch.job.loss
        moving_ms = self._pace.moving_ms if loss.lives else 0
        calls = await self._patiently(
            lambda: self._registry.rescues.find_calls(loss, batch.names, moving_ms=moving_ms)
        )
        if calls is None:
            log.warning("rescue_suspended", odoo=self._host, sfu=loss.address, calls=len(batch.names))
        concerned = {call.name for call in calls or ()}
        self._drop(batch, [name for name in batch.names if name not in concerned])
        if not calls:
            return
        await self._sleep(max(0.0, self._next_at - self._now()))
        self._next_at = self._now() + len(calls) / self._pace.calls_per_second
        batch.first_told_at = batch.first_told_at or self._now()
        try:
            results = await self._send(batch, calls)
        except Refused as error:
            await self._settle(batch, dict.fromkeys(batch.names, "failed"), str(error))
        except NotAnswered as error:
            self._silent_since = self._silent_since or self._now()
            log.warning("odoo_silent", odoo=self._host, sfu=loss.address, calls=len(calls), detail=str(error))
        else:
            self._silent_since, self._pause_s = None, self._pace.first_pause_s
            await self._settle(batch, results)

    async def _send(self, batch: Batch, calls: Sequence[LostCall]) -> dict[str, RescueResult]:
        """Send one message; return the results by the calls' names. Raises `NotAnswered`, `Refused`."""
        names = {call.uuid: call.name for call in calls if len(call.uuid) <= MAX_UUID_CHARACTERS}
        if not names:
            raise Refused("the uuids are too long")
        available = await self._patiently(self._registry.rescues.has_other_sfus)
        for key in self._targets.keys_of(batch.tenant):
            token = rescue_token(key, batch.job.loss.reason, names, available=available, now=self._epoch())
            try:
                status, body, _ = await self._forwarder.request(
                    "POST",
                    self._base_url,
                    ROUTE,
                    self._pace.answer_s,
                    headers=(("Content-Type", "application/jwt"),),
                    data=token.encode(),
                )
            except ForwardError as error:
                raise NotAnswered(str(error)) from None
            if status != 401:  # 401: after a rotation, Odoo may have the tenant's next key
                return _results(status, body, names)
        raise Refused("answered 401")

    async def _settle(self, batch: Batch, results: dict[str, RescueResult], detail: str = "") -> None:
        results = {name: results[name] for name in batch.names if name in results}
        loss, counts = batch.job.loss, Counter(results.values())
        if results:
            await self._patiently(lambda: self._registry.rescues.settle_calls(loss, results))
        self._drop(batch, list(results))
        say = log.warning if counts["failed"] else log.info
        say(
            "calls_told",
            odoo=self._host,
            sfu=loss.address,
            reason=loss.reason,
            results=dict(counts),
            unanswered=len(batch.names),
            detail=detail,
        )

    def _drop(self, batch: Batch, names: Sequence[str]) -> None:
        """Count `names` as processed."""
        gone = set(names)
        batch.names = [name for name in batch.names if name not in gone]
        batch.job.left -= len(gone)

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the registry until it answers. While Redis is away the queue stands still and loses nothing."""
        while True:
            try:
                return await ask()
            except RegistryUnavailable:
                await self._sleep(_REGISTRY_PAUSE_S)


def _results(status: int, body: bytes, names: dict[str, str]) -> dict[str, RescueResult]:
    if status >= 500 or status in _BUSY:
        raise NotAnswered(f"answered {status}")
    if status != 200:
        raise Refused(f"answered {status}")
    try:
        results = results_in(body)
    except ValueError:
        raise NotAnswered("answered 200 without results") from None
    return {names[uuid]: result for uuid, result in results.items() if uuid in names}
