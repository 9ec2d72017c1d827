"""OpenTelemetry traces of requests and their phases; needs the extra `otel` and `tracing.endpoint`.

A span per request and one per phase inside it, exported in the background as OTLP over HTTP. A caller's
`traceparent` is continued (https://www.w3.org/TR/trace-context/). Attributes never name an issuer or a token.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, Self

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import __version__
from app.api.request_context import noted, request_id_of
from app.channels.observer import Observer, Phase
from app.registry.placements import Reason
from app.settings.loader import SettingsError
from app.settings.model import ENV_PREFIX
from app.settings.model import Tracing as TracingSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

_NEEDS: Final = "needs the extra otel: pip install 'sfu-gateway[otel]'"
_EXPORT_TIMEOUT_S: Final = 2.0
"""A collector that does not answer must not hold up the end of a replica."""

_UNTRACED: Final = frozenset({"/noop", "/v1/noop", "/livez", "/readyz", "/metrics", "/v1/events"})
_NOTED: Final = ("tenant", "region", "sfu", "reason", "tries", "code")
"""What of a request's log line goes into its span."""


class Tracing:
    """Makes the spans of one replica."""

    def __init__(self, provider: "TracerProvider") -> None:
        """Take where spans go."""
        self._provider = provider
        self._tracer = provider.get_tracer("sfu-gateway", __version__)

    @classmethod
    def to(cls, exporter: "SpanExporter", *, sample_ratio: float = 1.0) -> Self:
        """Export spans of `sample_ratio` of the traces that begin here; a caller's decision is kept."""
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
            resource=Resource.create({"service.name": "sfu-gateway", "service.version": __version__}),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(BatchSpanProcessor(exporter))
        return cls(provider)

    def close(self) -> None:
        """Export what is left and stop. Blocks while it exports."""
        self._provider.shutdown()

    def phase(self, name: Phase) -> AbstractContextManager[object]:
        """Return a context that is a span inside the current one. Outcomes that are ours are no exceptions."""
        return self._tracer.start_as_current_span(name, record_exception=False)

    @contextmanager
    def request(self, scope: Scope) -> "Iterator[Callable[[int], None]]":
        """Make the block a span of the request; the given function takes the HTTP status."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract(Headers(scope=scope))
        with self._tracer.start_as_current_span(
            f"{scope['method']} {scope['path']}", parent, SpanKind.SERVER, record_exception=False
        ) as span:

            def answered(status: int) -> None:
                span.set_attribute("http.response.status_code", status)

            span.set_attribute("sfu_gateway.request_id", request_id_of(scope))
            try:
                yield answered
            finally:
                route = getattr(scope.get("route"), "path", "")
                span.update_name(f"{scope['method']} {route}".strip())
                for name in _NOTED:
                    if (value := noted(scope, name)) is not None:
                        span.set_attribute(f"sfu_gateway.{name}", value)


def tracing_of(settings: TracingSettings) -> Tracing | None:
    """Return what `[tracing]` describes; `None` when it names no endpoint. Raises `SettingsError`."""
    if not settings.endpoint:
        return None
    exporter = _exporter()(settings.endpoint, timeout=_EXPORT_TIMEOUT_S)
    return Tracing.to(exporter, sample_ratio=settings.sample_ratio)


def check_extra(settings: TracingSettings) -> None:
    """Raise `SettingsError` when there is to be tracing and the extra `otel` is not installed."""
    if settings.endpoint:
        _exporter()


def _exporter() -> "type[OTLPSpanExporter]":
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise SettingsError(f"{ENV_PREFIX}TRACING__ENDPOINT (tracing.endpoint in TOML): {_NEEDS}") from None
    return OTLPSpanExporter


class TraceRequests:
    """Middleware: a span around every request but probes and streams."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        """Wrap `app`."""
        self.app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in _UNTRACED:
            await self.app(scope, receive, send)
            return
        with self._tracing.request(scope) as answered:

            async def send_and_tell(message: Message) -> None:
                if message["type"] == "http.response.start":
                    answered(message["status"])
                await send(message)

            await self.app(scope, receive, send_and_tell)


class TracedObserver:
    """An observer whose phases are spans too."""

    def __init__(self, inner: Observer, tracing: Tracing) -> None:
        """Take who measures beside the traces."""
        self._inner = inner
        self._tracing = tracing

    @contextmanager
    def phase(self, name: Phase) -> "Iterator[None]":
        """Measure, and make a span."""
        with ExitStack() as stack:
            stack.enter_context(self._inner.phase(name))
            stack.enter_context(self._tracing.phase(name))
            yield

    def placed(self, region: str, reason: Reason, attempts: int) -> None:
        """Pass on."""
        self._inner.placed(region, reason, attempts)

    def forward_failed(self, region: str) -> None:
        """Pass on."""
        self._inner.forward_failed(region)

    def hint_ignored(self) -> None:
        """Pass on."""
        self._inner.hint_ignored()
