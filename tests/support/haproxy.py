"""HAProxy with the shipped configuration (`k8s/compose/haproxy.cfg`), in front of replicas on this machine."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.support.ports import HOST, free_port
from tests.support.processes import Process, answers
from tests.support.tools import required_tool

SHIPPED: Final = Path(__file__).resolve().parents[2] / "k8s" / "compose" / "haproxy.cfg"


def shipped_config(public_port: int, replicas: Sequence[str]) -> str:
    """Return the shipped configuration for one or two `replicas` (`HOST:PORT`); without a second one, it is down."""
    text = SHIPPED.read_text(encoding="utf-8")
    names = [*replicas, *[f"{HOST}:1"] * (2 - len(replicas))]
    for number, replica in enumerate(names, start=1):
        text = re.sub(rf"\bgateway-{number}:\d+", replica, text)
    text = text.replace("bind :8071", f"bind {HOST}:{public_port}")
    return text.replace("bind :8073", f"bind {HOST}:{free_port()}")


def shipped_haproxy(directory: Path, replicas: Sequence[str]) -> tuple[Process, str]:
    """Return the process, which is not started, and the URL of its public port."""
    binary = required_tool("haproxy", "apt-get install haproxy")
    port = free_port()
    config = directory / f"haproxy-{port}.cfg"
    config.write_text(shipped_config(port, replicas), encoding="utf-8")
    url = f"http://{HOST}:{port}"
    process = Process(
        [str(binary), "-db", "-f", str(config)],
        log=directory / f"haproxy-{port}.log",
        ready=answers(f"{url}/noop"),
    )
    return process, url
