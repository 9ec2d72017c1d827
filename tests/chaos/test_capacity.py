"""R19: far more asks than there is room for."""

import asyncio
from collections import Counter

from app.crypto.tokens import Key
from app.errors import Overloaded
from app.registry.client import close_client, connect
from app.registry.placements import ForwardOutcome, Placement, PlacementRequest
from app.registry.registry import Registry
from app.registry.sfus import SfuReport
from app.settings.loader import load_settings
from tests.chaos.rows import Row, Scale
from tests.journeys.deployment import GATEWAY_KEY
from tests.support.calls import call_id
from tests.support.redis_groups import RedisGroup

SFUS, MAX_SESSIONS, PER_CHANNEL = 20, 40, 4
IN_FLIGHT = 200


async def test_no_channel_is_placed_on_an_sfu_that_is_full(redis_group: RedisGroup, scale: Scale) -> None:
    asks = scale.count(100_000, 5_000)
    row = Row("R19", f"all SFUs full, {asks} concurrent asks", "0 placements above max_sessions")
    settings = load_settings(
        environ={
            "SFU_GATEWAY_KEY": GATEWAY_KEY,
            "SFU_GATEWAY_REDIS__URL": redis_group.url,
            "SFU_GATEWAY_REDIS__TIMEOUT_MS": "10000",
            "SFU_GATEWAY_BALANCING__SESSIONS_PER_CHANNEL": str(PER_CHANNEL),
            "SFU_GATEWAY_HEALTH__UNHEALTHY_THRESHOLD": "600",
        }
    )
    clients = [connect(settings.redis) for _ in range(4)]
    registries = [Registry.from_settings(client, settings) for client in clients]
    placed: Counter[str] = Counter()
    refused = 0
    gate = asyncio.Semaphore(IN_FLIGHT)

    async def ask(number: int) -> None:
        nonlocal refused
        registry = registries[number % len(registries)]
        async with gate:
            try:
                answer = await registry.select(PlacementRequest(id=str(number), call=call_id(str(number))))
            except Overloaded:
                refused += 1
                return
            assert isinstance(answer, Placement)
            placed[answer.address] += 1
            await registry.record_outcome(
                ForwardOutcome(str(number), call_id(str(number)), answer, "created", uuid=str(number))
            )

    try:
        for number in range(SFUS):
            await registries[0].registrations.heartbeat(
                SfuReport(
                    f"http://10.0.0.{number}:8070", "eu-west", Key(b"k" * 32), max_sessions=MAX_SESSIONS
                )
            )
        await asyncio.gather(*(ask(number) for number in range(asks)))
    finally:
        for client in clients:
            await close_client(client)
    room = MAX_SESSIONS // PER_CHANNEL
    above = sum(max(0, count - room) for count in placed.values())
    figure = f"{placed.total()} placed with room for {room * SFUS}, {above} above, {refused} refused"
    row.record(figure, kept=above == 0 and placed.total() == room * SFUS and refused == asks - room * SFUS)
