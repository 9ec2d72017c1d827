"""Script calls of one fleet, just as a Registry makes them, ready to be sent."""

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from redis import Redis

from app.crypto.sealing import Sealer
from app.crypto.tokens import Key
from app.registry.keys import Keys
from app.registry.placements import ForwardOutcome, PlacementRequest
from app.registry.policy import Policy
from app.registry.registry import Registry
from app.registry.sfus import SfuReport
from app.settings.model import HealthSettings, RegistrationSettings, Settings
from tests.bench.wire import Recorder
from tests.support.calls import call_id, placed_at
from tests.support.engines import RedisServer

Kind = Literal["new", "sticky", "heartbeat"]

POLICY: Final = Policy.from_settings(
    Settings(
        health=HealthSettings(unhealthy_threshold=86_400),
        registration=RegistrationSettings(max_per_second=1e6),
    )
)
"""SFUs live as long as the benchmark, and the few of a small fleet report often."""

_MAX_SESSIONS: Final = 100_000


class Fleet:
    """One fleet's script calls, just as a Registry makes them, ready to be sent."""

    def __init__(self, size: int, seed: int = 1) -> None:
        self.size = size
        self._random = random.Random(f"{seed}-{size}")
        self._key = Key(b"k" * 32)
        self._sealer = Sealer([b"s" * 32])

    def registrations(self) -> list[bytes]:
        """The first heartbeat of every SFU."""
        return self._heartbeats(range(self.size))

    def calls(self, kind: Kind, issuers: Sequence[str], request: str) -> list[bytes]:
        """One call per issuer; `request` names the channel requests that selects belong to."""
        if kind == "heartbeat":
            return self._heartbeats(self._random.choices(range(self.size), k=len(issuers)))
        return self._selects(issuers, request)

    def _heartbeats(self, numbers: Iterable[int]) -> list[bytes]:
        registry, recorder = self._recording(["ok", 0, 1, 1, ""])

        async def record() -> None:
            for number in numbers:
                await registry.registrations.heartbeat(self._figures(number))

        asyncio.run(record())
        return recorder.commands

    def _selects(self, issuers: Sequence[str], request: str) -> list[bytes]:
        registry, recorder = self._recording(["wait", 0, ""])

        async def record() -> None:
            for issuer in issuers:
                await registry.select(PlacementRequest(id=f"{request}-{issuer}", call=call_id(issuer)))

        asyncio.run(record())
        return recorder.commands

    def reports(self, server: RedisServer, issuers: Sequence[str], request: str) -> list[bytes]:
        """The good end of each issuer's request: a channel on the SFU that `server` has placed it on."""
        registry, recorder = self._recording(["ok", 1, "", ""])
        with Redis.from_url(server.url, decode_responses=True) as client:
            pipeline = client.pipeline(transaction=False)
            for issuer in issuers:
                name = registry.keys.placement("default", issuer)
                pipeline.hmget(name, ["address", "generation", "caller"])
            placed = pipeline.execute()

        async def record() -> None:
            for issuer, (address, generation, caller) in zip(issuers, placed, strict=True):
                placement = placed_at(address, generation=int(generation), caller=caller)
                await registry.record_outcome(
                    ForwardOutcome(f"{request}-{issuer}", call_id(issuer), placement, "created", uuid=issuer)
                )

        asyncio.run(record())
        return recorder.commands

    def _recording(self, reply: Sequence[str | int]) -> tuple[Registry, Recorder]:
        recorder = Recorder(reply)
        keys = Keys(f"fleet-{self.size}")
        return Registry(recorder.as_client(), keys, POLICY, self._sealer), recorder

    def _figures(self, number: int) -> SfuReport:
        # So large that the smallest fleet has room for all placements of the run.
        sessions = self._random.randrange(_MAX_SESSIONS // 2)
        return SfuReport(
            address=self._address(number),
            region=f"region-{number % 4}",
            key=self._key,
            channels=sessions // 5,
            sessions=sessions,
            max_sessions=_MAX_SESSIONS,
            cpu=sessions / _MAX_SESSIONS,
            memory=sessions / _MAX_SESSIONS / 2,
        )

    def _address(self, number: int) -> str:
        return f"http://10.{number >> 16}.{number >> 8 & 255}.{number & 255}:8070"
