"""R24: whatever is sent to any route, authenticated or not, nothing breaks and no secret gets out."""

import time
from collections.abc import Mapping
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok

from app.crypto.tokens import Key
from tests.journeys.deployment import (
    ADMIN_TOKEN,
    GATEWAY_KEY,
    REGISTRATION_KEY,
    Deployment,
    Replica,
    channel_token,
)

EXAMPLES = 12
DESIGNED = {502, 503}
STREAMS = {"/v1/events"}


def credentials(kind: str) -> Mapping[str, str]:
    """An `Authorization` header of each kind of caller."""
    registration = Key.from_base64(REGISTRATION_KEY).sign({"exp": int(time.time()) + 290})
    tokens = {"Odoo": channel_token(), "SFU": registration, "operator": ADMIN_TOKEN}
    return {"Authorization": f"Bearer {tokens[kind]}"} if kind in tokens else {}


@pytest.mark.parametrize("caller", ["nobody", "Odoo", "SFU", "operator"])
def test_no_request_that_fits_the_description_breaks_a_replica(deployment: Deployment, caller: str) -> None:
    replica = deployment.replica(log__level="warning")
    schema = schemathesis.openapi.from_url(f"{replica.url}/openapi.json")
    for operation in schema.get_all_operations():
        assert isinstance(operation, Ok)
        described = operation.ok()
        if described.path not in STREAMS:
            _hold_against(replica, described.as_strategy(), credentials(caller))
    _is_whole(replica)


def _hold_against(replica: Replica, cases: Any, headers: Mapping[str, str]) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def run(case: Any) -> None:
        answer = case.call(headers=headers, timeout=10, allow_redirects=False)
        _is_designed(answer.status_code, ",".join(answer.headers.get("content-type", [])), answer.text)

    run()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS"]),
    path=st.sampled_from(
        ["/v1/channel", "/v1/sfu", "/v1/disconnect", "/v1/admin/explain", "/r/x/v1/channel", "/"]
    ),
    query=st.text(max_size=40),
    body=st.binary(max_size=300),
    authorization=st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=255), max_size=80),
)
def _fuzz(replica: Replica, method: str, path: str, query: str, body: bytes, authorization: str) -> None:
    answer = replica.client.request(
        method,
        path,
        params={"region": query},
        content=body,
        headers={b"Authorization": authorization.encode("latin-1")},
    )
    _is_designed(answer.status_code, answer.headers.get("content-type", ""), answer.text)


def test_no_bytes_at_all_break_a_replica(deployment: Deployment) -> None:
    replica = deployment.replica(log__level="warning")
    _fuzz(replica)
    _is_whole(replica)


def _is_designed(status: int, content_type: str, text: str) -> None:
    """A 5xx is one that was designed: a problem document with a code."""
    assert status < 500 or status in DESIGNED, (status, text)
    if status >= 400 and status != 503:
        assert content_type.startswith(("application/problem+json", "text/plain")), (status, content_type)
    for secret in (GATEWAY_KEY, REGISTRATION_KEY, ADMIN_TOKEN):
        assert secret not in text


def _is_whole(replica: Replica) -> None:
    assert replica.client.get("/livez").status_code == 200
    output = replica.process.output
    assert "Traceback" not in output
    assert [secret for secret in (GATEWAY_KEY, REGISTRATION_KEY, ADMIN_TOKEN) if secret in output] == []
