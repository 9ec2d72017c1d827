"""The log: a JSON object per line, one per request, with its id, without issuers and secrets."""

import json
import os
import pty
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app import __version__
from app.logs import pseudonym
from tests.journeys.deployment import ADMIN_TOKEN, GATEWAY_KEY, REGISTRATION_KEY, Deployment, channel_token
from tests.support.engines import RedisServer
from tests.support.ports import HOST

ISSUER = "https://odoo.example:channel:42"
SFU = "http://127.0.0.1:9"
SFU_KEY = "a2V5IG9mIG9uZSBTRlUsIG5vdCBvZiBhbnkgb3RoZXI="
PASSWORD = "the-password-of-redis"


@pytest.fixture
def deployment(own_server: RedisServer, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment that says all it can, on a Redis with a password."""
    own_server.call("ACL", "SETUSER", "gateway", "on", f">{PASSWORD}", "~*", "&*", "+@all")
    url = f"redis://gateway:{PASSWORD}@{own_server.address}"
    with Deployment(url, tmp_path, log__level="debug") as running:
        yield running


def test_whatever_is_sent_the_log_has_ids_and_no_secret(deployment: Deployment) -> None:
    replica = deployment.replica()
    assert replica.heartbeat(SFU, SFU_KEY).is_success
    token = channel_token(ISSUER, key="channel-key-of-the-browsers")
    replica.client.get("/v1/channel", headers={"Authorization": f"jwt {token}", "X-Request-Id": "call-7"})
    replica.client.get("/v1/channel", headers={"Authorization": f"jwt {token}x"})
    replica.client.post("/v1/disconnect", content=token)
    replica.admin("drain", address=SFU)
    replica.client.post("/v1/sfu", content=b'{"key": "' + SFU_KEY.encode() + b'"')
    httpx.get(f"{replica.url}/v1/admin/explain?issuer={ISSUER}", headers={"Authorization": "x wrong-token"})
    assert replica.process.terminate() == 0

    lines = [json.loads(line) for line in replica.process.output.splitlines()]
    requests = {line["request_id"]: line for line in lines if line["event"] == "request"}
    assert requests["call-7"]["issuer"] == pseudonym(ISSUER)
    assert all(re.fullmatch(r"[0-9a-f]{32}|call-7", request_id) for request_id in requests)
    assert all({"method", "path", "status", "duration_ms"} <= line.keys() for line in requests.values())

    secrets = [token, token[:60], ISSUER, "channel-key-of-the-browsers", SFU_KEY, PASSWORD, "wrong-token"]
    for secret in [*secrets, GATEWAY_KEY, REGISTRATION_KEY, ADMIN_TOKEN]:
        assert secret not in replica.process.output, secret


def test_every_line_about_a_request_has_its_id(deployment: Deployment) -> None:
    replica = deployment.replica()
    assert replica.heartbeat(SFU, SFU_KEY).is_success
    headers = {"Authorization": f"jwt {channel_token(ISSUER)}", "X-Request-Id": "call-7"}
    assert replica.client.get("/v1/channel", headers=headers).status_code == 503
    assert replica.process.terminate() == 0
    lines = [json.loads(line) for line in replica.process.output.splitlines()]
    about = [line["event"] for line in lines if line.get("request_id") == "call-7"]
    assert about == ["sfu_failed", "sfu_blamed", "request"]


def test_a_replica_says_in_one_line_how_it_has_started(deployment: Deployment) -> None:
    replica = deployment.replica(health__public="false", registration__auth="none")
    assert replica.process.terminate() == 0
    lines = [json.loads(line) for line in replica.process.output.splitlines()]
    [line] = [line for line in lines if line["event"] == "serving"]
    assert line["version"] == __version__
    assert re.fullmatch(r"127\.0\.0\.1:\d+, database 0", line["redis"])
    assert (line["namespace"], line["sfus"]) == ("sfu", 0)
    assert line["open"] == "/v1/sfu, /metrics, /openapi.json"
    assert not [line for line in lines if line["logger"].startswith("uvicorn")]


@pytest.mark.parametrize("setting", ["port", "ops.port"])
def test_a_port_that_is_taken_is_named_by_its_setting(setting: str) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        other = {"SFU_GATEWAY_PORT": "0"} if setting == "ops.port" else {}
        variable = f"SFU_GATEWAY_{setting.replace('.', '__').upper()}"
        environment = {"SFU_GATEWAY_KEY": GATEWAY_KEY, "SFU_GATEWAY_BIND": HOST, variable: port} | other
        done = subprocess.run(
            [sys.executable, "-m", "app", "serve"],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert done.returncode not in (0, 1) or done.returncode == 3, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    [line] = [line for line in lines if line["event"] == "cannot_listen"]
    assert line["detail"].startswith(f"{variable} ({setting} in TOML): cannot listen on {HOST} port {port}: ")


@pytest.mark.parametrize("bind", ["192.0.2.1", "nowhere.invalid"])
def test_an_address_of_another_machine_is_named_by_its_setting(bind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", "serve"],
        env=os.environ | {"SFU_GATEWAY_KEY": GATEWAY_KEY, "SFU_GATEWAY_BIND": bind, "SFU_GATEWAY_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 3, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    [line] = [line for line in lines if line["event"] == "cannot_listen"]
    assert line["detail"].startswith(f"SFU_GATEWAY_BIND (bind in TOML): cannot listen on {bind} port 0: ")


@pytest.mark.parametrize(
    ("form", "is_terminal", "is_text"),
    [("auto", True, True), ("auto", False, False), ("json", True, False), ("text", False, True)],
)
@pytest.mark.parametrize("configure", ["app.logs", "workers.agent.logs"])
def test_people_get_text_and_machines_json(
    configure: str, form: str, is_terminal: bool, is_text: bool
) -> None:
    arguments = '"info", form' if configure == "app.logs" else "form"
    code = f"""
import logging, sys
from {configure} import configure_logging
form = sys.argv[1]
configure_logging({arguments})
logging.getLogger("a.name").warning("it %s", "happened")
"""
    ours, theirs = pty.openpty()
    where = theirs if is_terminal else subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code, form], stderr=where) as child:
        os.close(theirs)
        written = os.read(ours, 65_536) if is_terminal else child.stderr.read() if child.stderr else b""
        assert child.wait() == 0
    os.close(ours)
    line = written.decode().strip()
    if is_text:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z \[warning  \] it happened.*", line)
    else:
        members = json.loads(line)
        assert members.pop("timestamp").endswith("Z")
        assert members == {"event": "it happened", "logger": "a.name", "level": "warning"}


def test_a_pseudonym_is_short_stable_and_not_the_text() -> None:
    assert pseudonym(ISSUER) == pseudonym(ISSUER)
    assert pseudonym(ISSUER) != pseudonym(ISSUER + "3")
    assert re.fullmatch(r"[0-9a-f]{12}", pseudonym(ISSUER))
