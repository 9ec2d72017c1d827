"""Reads the events of SFUs and announces their calls to Odoo.

The events are those of the outbox. The rescue cursor is the event up to which all calls were answered or given up. A
sweeper that takes over starts there: every call is announced at least once, and a call that Odoo has answered is not
found again.
"""

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Final

from app.background import cancel_all
from app.logs import logger
from app.registry.losses import Loss, Reason
from app.registry.registry import Registry
from app.rescue.message import MAX_UUIDS
from app.rescue.odoo_queue import Batch, Job, OdooQueue, Pace
from app.rescue.targets import NotTold, Targets
from app.upstream.client import Forwarder

log = logger(__name__)

_EVENTS_PER_READ: Final = 200
_MOST_JOBS: Final = 200
_MOST_WAITING: Final = 20_000
"""No further event is read while more calls are in memory. One event has 10,000 calls at most."""

_ENDS: Final[Mapping[str, Reason]] = {"expired": "down", "signed-off": "down", "unreachable": "unreachable"}


def loss_of(stream_id: str, fields: Mapping[str, str]) -> Loss | None:
    """Return the loss that an event means for the calls of its SFU, or `None`."""
    kind, why, address, generation = (
        fields["type"],
        fields["reason"],
        fields["address"],
        int(fields["generation"]),
    )
    if kind == "down" and why in _ENDS:
        return Loss(stream_id, address, generation, _ENDS[why], may_be_mass=why != "signed-off")
    if kind == "restarted":
        return Loss(stream_id, address, generation - 1, "restarted")
    if kind == "moving":
        return Loss(stream_id, address, generation, "drain")
    return None


class Announcer:
    """The work of one sweeper while it has the lease."""

    def __init__(
        self,
        registry: Registry,
        forwarder: Forwarder,
        targets: Targets,
        pace: Pace,
        *,
        name: str,
        epoch: Callable[[], float] = time.time,
    ) -> None:
        """`forwarder` reaches allowed Odoos only. `name` is that of the sweeper."""
        self._registry = registry
        self._forwarder = forwarder
        self._targets = targets
        self._pace = pace
        self._name = name
        self._epoch = epoch
        self._position = ""
        self._committed = ""
        self._jobs: deque[Job] = deque()
        self._queues: dict[str, OdooQueue] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def step(self) -> bool:
        """Read new events, hand their calls to the queues, move the cursor. Returns whether the lease is still there.

        Raises `RegistryUnavailable`.
        """
        if not self._position:
            await self._begin()
        while self._has_room():
            events = await self._registry.outbox.events_after(self._position, _EVENTS_PER_READ)
            for stream_id, fields in events:
                loss = loss_of(stream_id, fields)
                if loss is not None:
                    await self._open(loss)
                self._position = stream_id
                if not self._has_room():
                    break
            if len(events) < _EVENTS_PER_READ:
                break
        self._collect()
        return await self._commit()

    async def stop(self) -> None:
        """Forget everything, and give up the messages under way. Another sweeper goes on from the cursor."""
        await cancel_all(self._tasks.values())
        self._tasks, self._queues = {}, {}
        self._jobs.clear()
        self._position = self._committed = ""

    async def _begin(self) -> None:
        """Start at the cursor; without a cursor at the newest event."""
        cursor = await self._registry.rescues.cursor()
        self._position, self._committed = cursor or await self._registry.outbox.last_event_id(), cursor or ""

    def _has_room(self) -> bool:
        waiting = sum(queue.length for queue in self._queues.values())
        return len(self._jobs) < _MOST_JOBS and waiting < _MOST_WAITING

    async def _open(self, loss: Loss) -> None:
        """Hand the calls of `loss` to the queues of their Odoos."""
        names = await self._registry.rescues.calls_of(loss.address)
        job = Job(loss, self._position)
        batches: dict[tuple[str, str], list[str]] = defaultdict(list)
        untold: Counter[str] = Counter()
        kept = []
        for start in range(0, len(names), MAX_UUIDS):
            calls = await self._registry.rescues.find_calls(loss, names[start : start + MAX_UUIDS])
            if calls is None:
                log.warning("rescue_suspended", sfu=loss.address, reason=loss.reason, calls=len(names))
                return
            for call in calls:
                try:
                    batches[self._targets.base_url_of(call), call.tenant].append(call.name)
                except NotTold as error:
                    untold[str(error)] += 1
                    kept.append(call.name)
        await self._note_untold(loss, kept, untold)
        for (base_url, tenant), members in batches.items():
            for start in range(0, len(members), MAX_UUIDS):
                part = members[start : start + MAX_UUIDS]
                job.left += len(part)
                self._queue(base_url).add(Batch(job, tenant, part))
        if job.left:
            self._jobs.append(job)
            log.info("calls_lost", sfu=loss.address, reason=loss.reason, calls=job.left, odoos=len(batches))

    async def _note_untold(self, loss: Loss, names: list[str], untold: Counter[str]) -> None:
        for detail, count in untold.items():
            log.warning("calls_not_told", sfu=loss.address, calls=count, detail=detail)
        if loss.lives and names:
            await self._registry.rescues.settle_calls(loss, dict.fromkeys(names, "kept"))

    def _queue(self, base_url: str) -> OdooQueue:
        queue = self._queues.get(base_url)
        if queue is None:
            queue = OdooQueue(
                base_url, self._registry, self._forwarder, self._targets, self._pace, self._epoch
            )
            self._queues[base_url] = queue
        return queue

    def _collect(self) -> None:
        """Start the queues with waiting calls, and forget the empty ones.

        A task that failed by a defect ends the sweeper with its exception.
        """
        for base_url, queue in tuple(self._queues.items()):
            task = self._tasks.get(base_url)
            if task is not None and task.done():
                task.result()
                del self._tasks[base_url]
                task = None
            if task is None and queue.length:
                self._tasks[base_url] = asyncio.create_task(queue.run())
            elif task is None:
                del self._queues[base_url]

    async def _commit(self) -> bool:
        while self._jobs and self._jobs[0].left == 0:
            self._jobs.popleft()
        done = self._jobs[0].before if self._jobs else self._position
        if done == self._committed:
            return True
        if not await self._registry.outbox.commit_cursor(self._name, done, "rescue_cursor"):
            return False
        self._committed = done
        return True
