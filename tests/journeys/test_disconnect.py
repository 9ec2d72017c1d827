"""Odoo ends sessions through the gateway, with the only key that it knows."""

import time
from typing import Any

from app.tokens import Key
from tests.journeys.deployment import GATEWAY_KEY, Deployment, Replica
from tests.support.waiting import eventually_sync


def disconnect(replica: Replica, sessions: dict[str, list[int]]) -> dict[str, Any]:
    """Post a disconnect as Odoo does; the gateway's answer."""
    claims = {"sessionIdsByChannel": sessions, "exp": int(time.time()) + 20}
    answer = replica.client.post("/v1/disconnect", content=Key.from_base64(GATEWAY_KEY).sign(claims))
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def test_sessions_end_on_the_sfus_that_have_them_through_any_replica(deployment: Deployment) -> None:
    first, second = deployment.replica(), deployment.replica()
    fleet = deployment.fleet(2, [first], "--people", "40", "--join-seconds", "0.01", "--stay-seconds", "3600")
    eventually_sync(lambda: second.selectable() == 2)
    channels = [first.ask(f"https://odoo.example:channel:{number}").json() for number in range(2)]
    assert {channel["url"] for channel in channels} == set(fleet.addresses)

    def sessions() -> list[int]:
        return [fleet.state(channel["url"])["sessions"] for channel in channels]

    eventually_sync(lambda: all(count >= 10 for count in sessions()))
    joined = sessions()
    done = disconnect(second, {channels[0]["uuid"]: [1, 2, 3], channels[1]["uuid"]: [4], "unknown": [5]})
    assert done == {"sfus": 2, "failed": [], "unknownChannels": 1}
    assert sessions() == [joined[0] - 3, joined[1] - 1]


def test_a_dead_sfu_is_named_and_the_others_are_told(deployment: Deployment) -> None:
    replica = deployment.replica()
    fleet = deployment.fleet(2, [replica])
    eventually_sync(lambda: replica.selectable() == 2)
    channels = [replica.ask(f"https://odoo.example:channel:{number}").json() for number in range(2)]
    dead, alive = (channel["url"] for channel in channels)
    fleet.control(dead, "fault", {"fault": "status", "status": 500})
    done = disconnect(replica, {channel["uuid"]: [1] for channel in channels})
    assert done == {"sfus": 1, "failed": [dead], "unknownChannels": 0}
    assert fleet.state(alive)["requests"]["/v1/disconnect"] == 1
