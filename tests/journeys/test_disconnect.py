"""Odoo ends sessions through the gateway, with the only key that it knows."""

import time
from typing import Any

from app.crypto.tokens import Key
from tests.journeys.deployment import GATEWAY_KEY, Deployment, Replica, RunningFleet
from tests.support.engines import RedisServer
from tests.support.waiting import eventually_sync


def a_channel_on_each(fleet: RunningFleet, replica: Replica) -> dict[str, str]:
    """Ask for channels until each SFU has one; a uuid by address."""
    channels: dict[str, str] = {}
    for number in range(100):
        channel = replica.ask(f"https://odoo.example:channel:{number}").json()
        channels[channel["url"]] = channel["uuid"]
        if len(channels) == len(fleet.addresses):
            break
    return channels


def disconnect(replica: Replica, sessions: dict[str, list[int]]) -> dict[str, Any]:
    """Post a disconnect as Odoo does; the gateway's answer."""
    claims = {"sessionIdsByChannel": sessions, "exp": int(time.time()) + 20}
    answer = replica.client.post("/v1/disconnect", content=Key.from_base64(GATEWAY_KEY).sign(claims))
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def test_sessions_end_on_the_sfus_that_have_them_through_any_replica(
    deployment: Deployment, own_server: RedisServer
) -> None:
    first, second = deployment.replica(), deployment.replica()
    fleet = deployment.fleet(2, [first], "--people", "40", "--join-seconds", "0.01", "--stay-seconds", "3600")
    eventually_sync(lambda: second.selectable() == 2)
    channels = a_channel_on_each(fleet, first)
    one, other = channels.values()

    def sessions() -> list[int]:
        return [fleet.state(address)["sessions"] for address in channels]

    # The answer comes before the report, which is all that the second replica knows.
    reports = [f"{{sfu}}:channel:{uuid}" for uuid in channels.values()]
    eventually_sync(lambda: own_server.call("EXISTS", *reports) == len(reports))
    eventually_sync(lambda: all(count >= 5 for count in sessions()))
    joined = sessions()
    done = disconnect(second, {one: [1, 2, 3], other: [4], "unknown": [5]})
    assert done == {"sfus": 2, "failed": [], "unknownChannels": 1}
    assert sessions() == [joined[0] - 3, joined[1] - 1]


def test_a_dead_sfu_is_named_and_the_others_are_told(deployment: Deployment) -> None:
    replica = deployment.replica()
    fleet = deployment.fleet(2, [replica])
    eventually_sync(lambda: replica.selectable() == 2)
    channels = a_channel_on_each(fleet, replica)
    dead, alive = channels
    fleet.control(dead, "fault", {"fault": "status", "status": 500})
    done = disconnect(replica, {uuid: [1] for uuid in channels.values()})
    assert done == {"sfus": 1, "failed": [dead], "unknownChannels": 0}
    assert fleet.state(alive)["requests"]["/v1/disconnect"] == 1
