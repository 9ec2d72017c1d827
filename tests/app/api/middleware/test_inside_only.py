"""With a second port, operators' routes are there and not on the first."""

from pathlib import Path

import httpx
import pytest

from app.api.routes import PUBLIC_ROUTES, ROUTES
from tests.journeys.deployment import ADMIN_TOKEN, Deployment
from tests.support.engines import RedisServer
from tests.support.ports import HOST, free_port
from tests.support.processes import ProcessFailed

INSIDE = sorted({str(route.path) for route in ROUTES if route not in PUBLIC_ROUTES})
OUTSIDE = ["/noop", "/v1/noop", "/livez", "/readyz", "/v1/channel", "/r/eu-west/v1/channel"]


def test_the_list_of_inner_routes_is_what_it_should_be() -> None:
    assert {path.split("/")[1] for path in INSIDE} == {"dashboard", "metrics", "openapi.json", "v1"}
    assert {path for path in INSIDE if path.startswith("/v1/")} >= {"/v1/health", "/v1/events"}


def test_the_two_ports_serve_what_belongs_to_them(own_server: RedisServer, tmp_path: Path) -> None:
    inner = free_port()
    with Deployment(own_server, tmp_path, ops__port=str(inner), ops__bind=HOST) as deployment:
        replica = deployment.replica()
        inside = httpx.Client(base_url=f"http://{HOST}:{inner}", trust_env=False)
        with inside:
            admin = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
            for path in INSIDE:
                outer = replica.client.get(path, headers=admin)
                assert (outer.status_code, outer.json()["code"]) == (404, "not_found"), path
                assert outer.headers["x-request-id"]
                if path != "/v1/events":
                    assert inside.get(path, headers=admin).status_code != 404 or "{" in path, path
            for path in OUTSIDE:
                assert replica.client.get(path).status_code == inside.get(path).status_code != 404, path
            with inside.stream("GET", "/v1/events") as events:
                assert events.status_code == 200
            beat = replica.heartbeat("http://127.0.0.1:8070", "a2V5IG9mIG9uZSBTRlUsIG5vdCBvZiBhbnkgb3RoZXI=")
            assert beat.status_code == 200
            assert replica.admin("drain", address="http://127.0.0.1:8070").status_code == 404
    assert replica.process.terminate() == 0


def test_a_second_port_that_is_taken_stops_the_start_and_is_named(
    own_server: RedisServer, tmp_path: Path
) -> None:
    with Deployment(own_server, tmp_path) as deployment:
        taken = deployment.replica().url.rpartition(":")[2]
        with pytest.raises(ProcessFailed, match=r"ops\.port"):
            deployment.replica(ops__port=taken, ops__bind=HOST)
