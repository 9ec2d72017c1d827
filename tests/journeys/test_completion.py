"""Shells complete what only the fleet knows: addresses and regions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journeys.deployment import Deployment, Replica
from tests.support.ports import HOST, free_port

KEY = "a2V5IG9mIG9uZSBTRlUsIG5vdCBvZiBhbnkgb3RoZXI="
ROOT = Path(__file__).parents[2]


@pytest.fixture
def replica(deployment: Deployment) -> Replica:
    """A gateway that three SFUs have reported to; two of them share a host."""
    replica = deployment.replica(registration__allow_networks="127.0.0.0/8")
    for address, region in (("127.0.0.1:9", "eu-west"), ("127.0.0.1:19", "eu-west"), ("127.0.0.2:9", "us")):
        assert replica.heartbeat(f"http://{address}", KEY, region=region).is_success
    return replica


def completed(line: str) -> list[str]:
    """What bash offers for the last word of `line`, asked as its completion script asks."""
    words = line.split(" ")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "_SFU_GATEWAY_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    program = "import sys; sys.argv[0] = 'sfu-gateway'; from app.cli.entry import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=30
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_addresses_are_hosts_with_a_port_where_it_takes_one(replica: Replica) -> None:
    asked = f"sfu-gateway sfu show --gateway {replica.url} "
    assert sorted(completed(asked)) == ["127.0.0.1:19", "127.0.0.1:9", "127.0.0.2"]
    assert completed(asked + "127.0.0.2") == ["127.0.0.2"]
    assert sorted(completed(asked + "http://127.0.0.1")) == ["http://127.0.0.1:19", "http://127.0.0.1:9"]


def test_regions_and_states_are_completed(replica: Replica) -> None:
    asked = f"sfu-gateway sfu list --gateway {replica.url}"
    assert sorted(completed(f"{asked} --region ")) == ["eu-west", "us"]
    assert completed(f"{asked} --state dr") == ["draining", "drained"]


def test_a_fleet_that_cannot_be_asked_completes_nothing_and_says_nothing() -> None:
    assert completed(f"sfu-gateway sfu show --gateway http://{HOST}:{free_port()} ") == []
    assert completed("sfu-gateway sfu show ") == []
