import asyncio

import httpx
import pytest

from tests.support.simulated import KEY, bearing, running_sfu, token
from tests.support.waiting import eventually
from workers.simulator.channels import Figures
from workers.simulator.faults import Hang, Status
from workers.simulator.sfu import SfuConfig, SimulatedSfu

FIXED = {"channels": 3, "sessions": 9, "cpuUsage": 0.5, "memoryUsage": 0.4}


async def test_port_0_takes_a_free_port_and_keeps_it_over_a_restart() -> None:
    async with running_sfu() as (sfu, client):
        port = sfu.port
        assert port > 0
        sfu.kill()
        await sfu.start()
        assert sfu.port == port
        assert (await client.get("/v1/noop")).status_code == 200


async def test_a_taken_port_cannot_be_started_on() -> None:
    async with running_sfu() as (sfu, _):
        with pytest.raises(OSError, match="in use"):
            async with running_sfu(SfuConfig(key=KEY, port=sfu.port)):
                pass


async def test_a_restarted_sfu_gives_the_same_issuer_a_new_channel() -> None:
    async with running_sfu() as (sfu, client):
        before = (await client.get("/v1/channel", headers=bearing(token()))).json()["uuid"]
        sfu.kill()
        await sfu.start()
        assert (await client.get("/v1/channel", headers=bearing(token()))).json()["uuid"] != before


async def test_a_killed_sfu_resets_requests_in_flight_and_refuses_new_ones() -> None:
    async with running_sfu() as (sfu, client):
        request = await hanging_request(sfu, client)
        sfu.kill()
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await request
        with pytest.raises(httpx.ConnectError):
            await client.get("/v1/noop")


async def test_stopping_does_not_wait_for_a_hanging_request() -> None:
    async with running_sfu() as (sfu, client):
        request = await hanging_request(sfu, client)
        async with asyncio.timeout(0.5):
            await sfu.stop()
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await request


async def hanging_request(sfu: SimulatedSfu, client: httpx.AsyncClient) -> asyncio.Task[httpx.Response]:
    await sfu.set_fault(Hang())
    request = asyncio.create_task(client.get("/v1/noop", timeout=30))
    await eventually(lambda: sfu.calls)
    return request


async def test_a_fault_can_be_set_and_mended_over_http() -> None:
    async with running_sfu() as (sfu, client):
        response = await client.post("/_sim/fault", json={"fault": "status", "status": 503})
        assert response.json()["fault"] == {"route": "", "fault": "status", "status": 503}
        assert sfu.fault == Status(status=503)
        assert (await client.get("/v1/noop")).status_code == 503
        await client.post("/_sim/fault", json={"fault": "none"})
        assert (await client.get("/v1/noop")).status_code == 200


async def test_figures_can_be_fixed_and_let_go_over_http() -> None:
    async with running_sfu() as (sfu, client):
        await client.post("/_sim/figures", json=FIXED)
        assert sfu.figures() == Figures(channels=3, sessions=9, cpu_usage=0.5, memory_usage=0.4)
        await client.post("/_sim/figures", content="null")
        assert sfu.figures().channels == 0


async def test_the_state_counts_requests_by_path_and_shows_no_secret() -> None:
    async with running_sfu() as (sfu, client):
        await client.get("/v1/channel", headers=bearing(token()))
        await client.get("/v1/noop")
        sfu.fix_figures(Figures.model_validate(FIXED))
        response = await client.get("/_sim/state")
        assert response.json() == {
            "address": sfu.address,
            "region": "eu-west",
            "fault": {"route": "", "fault": "none"},
            "draining": False,
            "toldToDrain": False,
            "requests": {"/v1/channel": 1, "/v1/noop": 1},
            **FIXED,
        }
        assert sfu.key_text not in response.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/_sim/fault", '{"fault": "unheard-of"}'),
        ("/_sim/figures", '{"sessions": -1}'),
        ("/_sim/heartbeats", "{}"),
    ],
)
async def test_a_control_request_that_cannot_be_read_gives_422(path: str, body: str) -> None:
    async with running_sfu() as (_, client):
        assert (await client.post(path, content=body)).status_code == 422


def test_the_text_form_of_a_config_hides_the_key() -> None:
    assert KEY.secret.decode() not in repr(SfuConfig(key=KEY))
