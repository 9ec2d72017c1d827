"""R17: clocks that are wrong."""

import time
from pathlib import Path

import pytest

from tests.chaos.rows import Row
from tests.journeys.deployment import Deployment
from tests.support.redis_groups import RedisGroup
from tests.support.tools import miss
from tests.support.waiting import eventually_sync

LIBRARIES = (
    Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"),
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"),
)


def library() -> str:
    found = next((path for path in LIBRARIES if path.exists()), None)
    if found is None:
        miss("libfaketime is missing (Debian, Ubuntu: apt-get install faketime)")
    return str(found)


@pytest.mark.parametrize("offset", ["+3600", "-3600"])
def test_a_replica_an_hour_off_changes_nothing_but_token_times(
    redis_group: RedisGroup, tmp_path: Path, offset: str
) -> None:
    row = Row(
        f"R17 ({offset} s)", "a replica's clock is off by an hour", "no change of behaviour but token times"
    )
    with Deployment(redis_group.url, tmp_path, health__unhealthy_threshold="3") as deployment:
        right = deployment.replica()
        wrong_clock = {"LD_PRELOAD": library(), "FAKETIME": offset, "DONT_FAKE_MONOTONIC": "1"}
        wrong = deployment.replica_in(wrong_clock, registration__auth="none")
        deployment.sweeper()
        address, key = "http://127.0.0.1:9", "a2V5IG9mIG9uZSBTRlUsIG5vdCBvZiBhbnkgb3RoZXI="
        wrong.heartbeat(address, key)
        seen_by_both = right.selectable() == wrong.selectable() == 1
        age = max(replica.health()["sfus"][0]["heartbeatAgeMs"] for replica in (right, wrong))
        started = time.monotonic()
        eventually_sync(lambda: right.status_of(address) == "down", timeout_seconds=8)
        down_after = time.monotonic() - started
        refused = wrong.ask().status_code
    figure = (
        f"seen by both at once: {seen_by_both}, heartbeat age {age} ms, down after {down_after:.1f} s of 3 s, "
        f"a token of now at the wrong replica: {refused}"
    )
    expected = 401 if offset.startswith("+") else 503
    row.record(figure, kept=seen_by_both and age < 3000 and 2 <= down_after <= 5 and refused == expected)
