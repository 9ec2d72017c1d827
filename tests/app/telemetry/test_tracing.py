"""OpenTelemetry traces: a span per request and phase, off unless configured, without a secret."""

import gzip
import http.server
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from app.crypto.tokens import Key
from app.errors import SettingsError
from app.settings.loader import load_settings
from app.settings.model import RegistrationSettings, Settings, TracingSettings
from app.telemetry.tracing import tracing_of
from tests.support.apps import running_app
from tests.support.simulated import running_sfu

GATEWAY_KEY = Key(b"the key between Odoo and the gateway")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Collector:
    """Takes spans as an OpenTelemetry collector does."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1/traces"
        self.bodies: list[bytes] = []

    @property
    def spans(self) -> list[Span]:
        """Every span that has arrived."""
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [
            span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector on a port of its own."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            found.bodies.append(body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Collector(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


async def test_a_channel_request_is_a_span_with_its_phases_inside(collector: Collector) -> None:
    settings = Settings(
        key=(GATEWAY_KEY,),
        registration=RegistrationSettings(auth="none"),
        tracing=TracingSettings(endpoint=collector.url),
    )
    token = GATEWAY_KEY.sign({"iss": "https://odoo.example:channel:1", "exp": int(time.time()) + 30})
    async with running_sfu() as (sfu, _), running_app(settings) as client:
        document = {"status": "up", "address": sfu.address, "key": sfu.key_text, "region": "eu-west"}
        await client.post("/v1/sfu", json=document)
        headers = {"Authorization": f"jwt {token}", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        assert (await client.get("/v1/channel", headers=headers)).is_success
        await client.get("/livez")
    spans = [span for span in collector.spans if span.trace_id.hex() == TRACE]
    by_name = {span.name: span for span in spans}
    assert by_name.keys() == {"GET /v1/channel", "verify", "select", "forward", "report"}
    request = by_name.pop("GET /v1/channel")
    assert request.parent_span_id.hex() == "00f067aa0ba902b7"
    assert {span.parent_span_id for span in by_name.values()} == {request.span_id}
    attributes = {each.key: each.value for each in request.attributes}
    assert attributes["sfu_gateway.sfu"].string_value == sfu.address
    assert attributes["http.response.status_code"].int_value == 200
    assert {span.name for span in collector.spans} == {"POST /v1/sfu", "GET /v1/channel", *by_name}
    assert b"odoo.example" not in b"".join(collector.bodies)


def test_without_an_endpoint_nothing_is_traced() -> None:
    assert tracing_of(TracingSettings()) is None


def test_an_endpoint_that_is_no_url_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"SFU_GATEWAY_TRACING__ENDPOINT .*http"):
        load_settings(None, {"SFU_GATEWAY_TRACING__ENDPOINT": "collector:4318"})


def test_without_the_extra_the_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"SFU_GATEWAY_TRACING__ENDPOINT .*sfu-gateway\[otel\]"):
        tracing_of(TracingSettings(endpoint="http://collector:4318/v1/traces"))
