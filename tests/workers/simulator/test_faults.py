import asyncio
import json
import time
from itertools import pairwise

import httpx
import pytest
from pydantic import ValidationError

from tests.support.simulated import bearing, running_sfu, token
from tests.support.waiting import eventually
from workers.simulator.faults import (
    FAULT_JSON,
    LINK_LOCAL_URL,
    Delay,
    Drip,
    Fault,
    Garbage,
    Hang,
    Huge,
    NoFault,
    NoUuid,
    Redirect,
    Refuse,
    Reset,
    Status,
)


async def test_a_delayed_sfu_gives_the_right_answer_late() -> None:
    async with running_sfu() as (sfu, client):
        await sfu.set_fault(Delay(ms=60))
        started = time.monotonic()
        response = await client.get("/v1/channel", headers=bearing(token()))
        assert response.status_code == 200
        assert time.monotonic() - started >= 0.06


async def test_a_hanging_sfu_never_answers() -> None:
    async with running_sfu() as (sfu, client):
        await sfu.set_fault(Hang())
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/v1/noop", timeout=0.1)


async def test_any_status_can_be_given() -> None:
    async with running_sfu() as (sfu, client):
        for status in (500, 503, 401):
            await sfu.set_fault(Status(status=status))
            assert (await client.get("/v1/channel")).status_code == status


async def test_garbage_is_200_and_no_json() -> None:
    async with running_sfu() as (sfu, client):
        await sfu.set_fault(Garbage())
        response = await client.get("/v1/channel")
        assert response.status_code == 200
        with pytest.raises(ValueError, match=r"utf-8|JSON|Expecting"):
            json.loads(response.content)


async def test_no_uuid_is_200_and_json_without_uuid() -> None:
    async with running_sfu() as (sfu, client):
        await sfu.set_fault(NoUuid())
        response = await client.get("/v1/channel")
        assert response.status_code == 200
        assert list(response.json()) == ["url"]


async def test_a_refusing_sfu_takes_no_connection_until_it_is_mended() -> None:
    async with running_sfu() as (sfu, client):
        port = sfu.port
        await sfu.set_fault(Refuse())
        with pytest.raises(httpx.ConnectError):
            await client.get("/v1/noop")
        await sfu.set_fault(NoFault())
        assert sfu.port == port
        assert (await client.get("/v1/noop")).status_code == 200


@pytest.mark.parametrize("fault", [Refuse(), Reset()], ids=lambda fault: str(fault.fault))
async def test_an_sfu_that_refuses_or_resets_ends_a_connection_that_was_open(fault: Fault) -> None:
    async with running_sfu() as (sfu, client):
        await client.get("/v1/noop")
        await sfu.set_fault(fault)
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await client.get("/v1/noop")


async def test_a_dripping_sfu_sends_its_right_answer_byte_by_byte() -> None:
    async with running_sfu() as (sfu, client):
        await sfu.set_fault(Drip(bytes_per_second=200))
        async with client.stream("GET", "/v1/noop") as response:
            arrivals = [(time.monotonic(), chunk) async for chunk in response.aiter_raw()]
        assert b"".join(chunk for _, chunk in arrivals) == b'{"result": "ok"}'
        assert all(later - earlier > 0.001 for (earlier, _), (later, _) in pairwise(arrivals))
        assert arrivals[-1][0] - arrivals[0][0] > 0.05


async def test_a_huge_body_has_exactly_the_asked_size() -> None:
    async with running_sfu() as (sfu, client):
        await sfu.set_fault(Huge(size_bytes=100_000))
        response = await client.get("/v1/channel")
        assert len(response.content) == 100_000
        assert "Content-Length" not in response.headers


async def test_a_caller_may_hang_up_in_the_middle_of_a_huge_body() -> None:
    async with running_sfu() as (sfu, client):
        await sfu.set_fault(Huge())
        async with client.stream("GET", "/v1/channel") as response:
            assert response.status_code == 200
        await sfu.set_fault(NoFault())
        assert (await client.get("/v1/noop")).status_code == 200


async def test_a_redirect_points_to_a_link_local_address() -> None:
    async with running_sfu() as (sfu, client):
        await sfu.set_fault(Redirect())
        response = await client.get("/v1/channel")
        assert (response.status_code, response.headers["Location"]) == (302, LINK_LOCAL_URL)


async def test_a_fault_of_one_route_spares_the_others() -> None:
    async with running_sfu() as (sfu, client):
        await sfu.set_fault(Status(route="/v1/channel"))
        assert (await client.get("/v1/channel", headers=bearing(token()))).status_code == 500
        assert (await client.get("/v1/noop")).status_code == 200


async def test_a_fault_with_an_end_mends_by_itself() -> None:
    async with running_sfu() as (sfu, client):
        await sfu.set_fault(Refuse(seconds=0.1))
        await eventually(lambda: sfu.fault == NoFault())
        assert (await client.get("/v1/noop")).status_code == 200


async def test_a_later_fault_is_not_ended_by_the_end_of_an_earlier_one() -> None:
    async with running_sfu() as (sfu, client):
        await sfu.set_fault(Status(seconds=0.05))
        await sfu.set_fault(Status(status=503))
        await asyncio.sleep(0.1)  # past the end of the earlier one
        assert (await client.get("/v1/noop")).status_code == 503


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        '{"fault": "unheard-of"}',
        '{"fault": "delay"}',
        '{"fault": "hang", "ms": 3}',
        '{"fault": "status", "status": 99}',
    ],
)
def test_a_fault_that_is_not_well_formed_is_refused(body: str) -> None:
    with pytest.raises(ValidationError):
        FAULT_JSON.validate_json(body)
