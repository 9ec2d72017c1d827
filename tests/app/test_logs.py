"""The log: a JSON object per line, one per request, with its id, without issuers and secrets."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.logs import pseudonym
from tests.journeys.deployment import ADMIN_TOKEN, GATEWAY_KEY, REGISTRATION_KEY, Deployment, channel_token
from tests.support.engines import RedisServer

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


def test_a_pseudonym_is_short_stable_and_not_the_text() -> None:
    assert pseudonym(ISSUER) == pseudonym(ISSUER)
    assert pseudonym(ISSUER) != pseudonym(ISSUER + "3")
    assert re.fullmatch(r"[0-9a-f]{12}", pseudonym(ISSUER))
