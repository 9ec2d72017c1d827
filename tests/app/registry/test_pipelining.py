"""Calls of one moment travel together, and each gets its own reply, whatever happens to the others."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from app.errors import RegistryUnavailable
from app.registry.pipelining import MOST_UNDER_WAY, ScriptPipeline
from app.registry.scripts import Script, ScriptRunner
from tests.support.engines import RedisServer
from tests.support.ports import HOST
from tests.support.proxy import FaultProxy, Faults

WHOLE_SECOND = 1.0


def script(text: str) -> Script:
    return Script("test", text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


ECHO = script("return {KEYS[1], ARGV[1]}")
BROKEN = script("return 1 + nil")
SLOW = script("for _ = 1, 1000000 do end return ARGV[1]")
COUNT = script("return redis.call('INCR', KEYS[1])")


async def ask(batches: ScriptPipeline, what: Script, *arguments: object) -> object:
    return await batches.call(what.sha, what.text, ("{sfu}:", *arguments))


@pytest.fixture(params=["redis", "valkey"])
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    """A client of each engine that has connections."""
    server: RedisServer = request.getfixturevalue(f"{request.param}_server")
    server.wipe()
    async with server.connect() as client:
        yield client


@pytest.fixture
async def proxy(redis_server: RedisServer) -> AsyncIterator[FaultProxy]:
    """What stands between the callers and Redis."""
    async with FaultProxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
async def through_proxy(proxy: FaultProxy) -> AsyncIterator[Redis]:
    """A client whose connections can be harmed."""
    async with Redis(host=HOST, port=proxy.port, decode_responses=True) as client:
        yield client


async def test_each_of_many_callers_gets_its_own_reply(redis: Redis) -> None:
    batches = ScriptPipeline(redis, WHOLE_SECOND)
    replies = await asyncio.gather(*(ask(batches, ECHO, number) for number in range(500)))
    assert replies == [["{sfu}:", str(number)] for number in range(500)]


async def reads_of(redis: Redis) -> int:
    """How often Redis has read from a connection, this question included."""
    return int((await redis.info("stats"))["total_reads_processed"])


async def test_calls_of_one_moment_share_a_pipeline(redis: Redis) -> None:
    batches = ScriptPipeline(redis, WHOLE_SECOND)
    await ask(batches, ECHO, "loaded")
    before = await reads_of(redis)
    await asyncio.gather(*(ask(batches, ECHO, number) for number in range(100)))
    assert await reads_of(redis) - before == 2


async def test_a_call_that_may_wait_goes_with_the_next_one_and_before_it(redis: Redis) -> None:
    batches = ScriptPipeline(redis, WHOLE_SECOND)
    await ask(batches, COUNT)
    before = await reads_of(redis)
    patient = batches.call(COUNT.sha, COUNT.text, ("{sfu}:",), may_wait=True)
    assert await ask(batches, COUNT) == 3
    assert await patient == 2
    assert await reads_of(redis) - before == 2


async def test_a_call_that_may_wait_is_sent_without_a_next_one(redis: Redis) -> None:
    batches = ScriptPipeline(redis, WHOLE_SECOND)
    assert await batches.call(COUNT.sha, COUNT.text, ("{sfu}:",), may_wait=True) == 1


async def test_an_argument_that_cannot_be_sent_is_its_callers_fault_alone(redis: Redis) -> None:
    batches = ScriptPipeline(redis, WHOLE_SECOND)
    good, bad = await asyncio.gather(
        ask(batches, ECHO, 1), ask(batches, ECHO, "\ud800"), return_exceptions=True
    )
    assert good == ["{sfu}:", "1"]
    assert isinstance(bad, UnicodeEncodeError)


async def test_a_connection_that_ends_between_two_calls_is_replaced(
    proxy: FaultProxy, through_proxy: Redis
) -> None:
    batches = ScriptPipeline(through_proxy, WHOLE_SECOND)
    await ask(batches, ECHO, 1)
    proxy.reset_connections()
    assert await ask(batches, ECHO, 2) == ["{sfu}:", "2"]
    assert proxy.accepted == 2


async def test_dropped_connections_are_not_used_again(proxy: FaultProxy, through_proxy: Redis) -> None:
    batches = ScriptPipeline(through_proxy, WHOLE_SECOND)
    await ask(batches, ECHO, 1)
    batches.drop_idle()
    assert await ask(batches, ECHO, 2) == ["{sfu}:", "2"]
    assert proxy.accepted == 2


async def test_a_server_that_has_become_a_replica_is_asked_on_a_new_connection(
    own_server: RedisServer,
) -> None:
    async with own_server.connect() as client:
        batches = ScriptPipeline(client, WHOLE_SECOND)
        await ask(batches, COUNT)
        connections = int((await client.info("stats"))["total_connections_received"])
        await client.replicaof(HOST, "1")
        with pytest.raises(ReadOnlyError):
            await ask(batches, COUNT)
        assert int((await client.info("stats"))["total_connections_received"]) > connections
        await client.replicaof("NO", "ONE")
        assert await ask(batches, COUNT) == 2


async def test_scripts_that_redis_has_forgotten_are_sent_again(redis: Redis) -> None:
    batches = ScriptPipeline(redis, WHOLE_SECOND)
    for _ in range(2):
        await redis.script_flush()
        replies = await asyncio.gather(*(ask(batches, ECHO, number) for number in range(10)))
        assert replies == [["{sfu}:", str(number)] for number in range(10)]


async def test_one_that_fails_by_itself_does_not_harm_the_others(redis: Redis) -> None:
    batches = ScriptPipeline(redis, WHOLE_SECOND)
    good, bad, also_good = await asyncio.gather(
        ask(batches, ECHO, 1), ask(batches, BROKEN), ask(batches, ECHO, 2), return_exceptions=True
    )
    assert (good, also_good) == (["{sfu}:", "1"], ["{sfu}:", "2"])
    assert isinstance(bad, ResponseError)


async def test_whoever_gives_up_takes_nobody_elses_reply(redis: Redis) -> None:
    batches = ScriptPipeline(redis, WHOLE_SECOND)
    for round_number in range(20):
        tasks = [asyncio.create_task(ask(batches, ECHO, f"{round_number}-{n}")) for n in range(50)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        kept = [task.result() for task in tasks[1::2]]
        assert kept == [["{sfu}:", f"{round_number}-{n}"] for n in range(1, 50, 2)]


async def test_what_a_caller_asked_before_it_gave_up_may_run_and_once(redis: Redis) -> None:
    batches = ScriptPipeline(redis, WHOLE_SECOND)
    tasks = [asyncio.create_task(ask(batches, COUNT)) for _ in range(10)]
    await asyncio.gather(*tasks)
    assert sorted(task.result() for task in tasks) == list(range(1, 11))  # type: ignore[type-var]


async def test_while_redis_hangs_nobody_waits_longer_than_a_call_may_take(
    proxy: FaultProxy, through_proxy: Redis
) -> None:
    batches = ScriptPipeline(through_proxy, 0.6)
    await ask(batches, ECHO, 1)
    proxy.faults = Faults(black_hole=True)
    loop = asyncio.get_running_loop()

    async def waited() -> float:
        asked = loop.time()
        with pytest.raises((RedisError, OSError)):
            await ask(batches, ECHO, 1)
        return loop.time() - asked

    tasks = []
    for _ in range(5 * MOST_UNDER_WAY):  # the later ones have to wait for pipelines that will never end
        tasks.append(asyncio.create_task(waited()))
        await asyncio.sleep(0.01)
    assert max(await asyncio.gather(*tasks)) < 2 * 0.6 - 0.2


async def test_a_replica_that_is_late_itself_does_not_blame_redis(redis_server: RedisServer) -> None:
    async with redis_server.connect() as client:
        batches = ScriptPipeline(client, 0.2)
        await ask(batches, SLOW, "loaded")
        calls = [asyncio.create_task(ask(batches, SLOW, number)) for number in range(3)]
        await asyncio.sleep(0.01)  # they are on their way
        time.sleep(0.4)  # noqa: ASYNC251 - what the event loop of a saturated replica does
        assert await asyncio.gather(*calls) == [str(number) for number in range(3)]


async def test_when_redis_is_back_calls_are_answered_again(proxy: FaultProxy, through_proxy: Redis) -> None:
    batches = ScriptPipeline(through_proxy, 0.2)
    proxy.faults = Faults(black_hole=True)
    with pytest.raises((RedisError, OSError)):
        await ask(batches, ECHO, 1)
    proxy.faults = Faults()
    assert await asyncio.gather(*(ask(batches, ECHO, n) for n in range(3))) == [
        ["{sfu}:", str(n)] for n in range(3)
    ]


async def test_whoever_asks_while_some_wait_for_a_lost_reply_does_not_wait_with_them(
    proxy: FaultProxy, through_proxy: Redis
) -> None:
    batches = ScriptPipeline(through_proxy, 5.0)
    await ask(batches, ECHO, "loaded")
    proxy.faults = Faults(black_hole=True)
    stuck = []
    for number in range(MOST_UNDER_WAY):
        stuck.append(asyncio.create_task(ask(batches, ECHO, number)))
        await asyncio.sleep(0.02)
    proxy.faults = Faults()  # connections on which something was swallowed stay silent
    async with asyncio.timeout(WHOLE_SECOND):
        assert await ask(batches, ECHO, "next") == ["{sfu}:", "next"]
    assert not any(task.done() for task in stuck)
    for task in stuck:
        task.cancel()


async def test_lost_replies_cost_their_pipeline_and_cross_nothing(
    proxy: FaultProxy, through_proxy: Redis
) -> None:
    batches = ScriptPipeline(through_proxy, 0.2)
    proxy.faults = Faults(drop_replies=0.2)
    answered = 0
    for number in range(40):
        replies = await asyncio.gather(
            *(ask(batches, ECHO, f"{number}-{n}") for n in range(5)), return_exceptions=True
        )
        for n, reply in enumerate(replies):
            assert isinstance(reply, Exception) or reply == ["{sfu}:", f"{number}-{n}"]
            answered += not isinstance(reply, Exception)
    assert proxy.lost_replies > 0
    assert answered > 0


# As the registry uses it


async def test_the_runner_says_unavailable_for_each_of_them(proxy: FaultProxy, through_proxy: Redis) -> None:
    runner = ScriptRunner(through_proxy, "{sfu}:", 0.1)
    assert await runner.run_batched(ECHO, 1) == ["{sfu}:", "1"]
    answered_at = runner.answered_at
    assert answered_at > 0
    await proxy.refuse()
    proxy.reset_connections()
    outcomes = await asyncio.gather(*(runner.run_batched(ECHO, n) for n in range(5)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {RegistryUnavailable}
    assert runner.answered_at == answered_at


async def test_a_script_that_is_wrong_is_our_defect_and_not_that_of_redis(redis: Redis) -> None:
    with pytest.raises(ResponseError):
        await ScriptRunner(redis, "{sfu}:", WHOLE_SECOND).run_batched(BROKEN)
