"""claim_schema.lua: processes work only with a layout that they know."""

import pytest
from redis.asyncio import Redis

from app.registry.keys import SCHEMA
from app.registry.schema_version import SchemaRefused
from tests.lua.fleet import A, Fleet


async def test_the_first_process_says_what_it_writes(fleet: Fleet, redis: Redis) -> None:
    await fleet.registry.claim_schema()
    assert await redis.hget(fleet.keys.fleet, "schema") == str(SCHEMA)


async def test_data_without_a_schema_is_taken_over_as_it_is(fleet: Fleet, redis: Redis) -> None:
    await fleet.beat()
    before = await redis.hgetall(fleet.keys.fleet)
    await fleet.registry.claim_schema()
    assert await redis.hgetall(fleet.keys.fleet) == before | {"schema": str(SCHEMA)}
    assert (await fleet.select()).address == A


async def test_a_newer_process_raises_the_schema_when_it_knows_the_old_one(
    fleet: Fleet, redis: Redis
) -> None:
    await fleet.registry.claim_schema(2, oldest=1, newest=2)
    await fleet.registry.claim_schema(3, oldest=2, newest=3)
    assert await redis.hget(fleet.keys.fleet, "schema") == "3"


async def test_a_process_that_reads_the_newer_schema_works_beside_it(fleet: Fleet, redis: Redis) -> None:
    await fleet.registry.claim_schema(2, oldest=1, newest=2)
    await fleet.registry.claim_schema(1, oldest=1, newest=2)
    assert await redis.hget(fleet.keys.fleet, "schema") == "2"


async def test_an_older_process_is_refused_and_changes_nothing(fleet: Fleet, redis: Redis) -> None:
    await fleet.registry.claim_schema(2, oldest=2, newest=2)
    with pytest.raises(SchemaRefused, match="has schema 2, this version knows up to 1"):
        await fleet.registry.claim_schema(1, oldest=1, newest=1)
    assert await redis.hget(fleet.keys.fleet, "schema") == "2"


async def test_a_process_that_has_forgotten_the_old_schema_is_refused(fleet: Fleet, redis: Redis) -> None:
    await fleet.registry.claim_schema(1, oldest=1, newest=1)
    with pytest.raises(SchemaRefused, match="has schema 1, this version knows 2 and newer"):
        await fleet.registry.claim_schema(3, oldest=2, newest=3)
    assert await redis.hget(fleet.keys.fleet, "schema") == "1"


async def test_a_schema_that_is_no_number_is_unknown(fleet: Fleet, redis: Redis) -> None:
    await redis.hset(fleet.keys.fleet, "schema", "2-beta")
    with pytest.raises(SchemaRefused, match="2-beta"):
        await fleet.registry.claim_schema()


async def test_claimed_before_any_heartbeat_the_registry_still_counts_as_empty(fleet: Fleet) -> None:
    await fleet.registry.claim_schema()
    assert (await fleet.registry.fleet.snapshot()).epoch == ""
