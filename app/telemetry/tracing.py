"""OpenTelemetry traces of requests and their phases; needs the extra `otel` and `tracing.endpoint`.

A span per request and one per phase inside it, exported in the background as OTLP over HTTP. A caller's
`traceparent` is continued (https://www.w3.org/TR/trace-context/). Attributes never name an issuer or a token.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, Self

from app import __version__
from app.channels.observer import Observer, Phase
from app.errors import SettingsError
from app.registry.placements import Reason
from app.settings.model import ENV_PREFIX, TracingSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

_NEEDS: Final = "needs the extra otel: pip install 'sfu-gateway[otel]'"
_EXPORT_TIMEOUT_S: Final = 2.0
"""A collector that does not answer must not delay the end of a replica."""


class Tracing:
    """Makes the spans of one replica."""

    def __init__(self, provider: "TracerProvider") -> None:
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
        """Return a context that is a span inside the current one. It records no exceptions: they are outcomes."""
        return self._tracer.start_as_current_span(name, record_exception=False)

    def begin(self, name: Phase) -> Callable[[], None]:
        """Begin a span inside the current one; return what ends it, in whatever task."""
        return self._tracer.start_span(name, record_exception=False).end

    @contextmanager
    def request(self, method: str, path: str, headers: Mapping[str, str]) -> "Iterator[Span]":
        """Make the block a span of a request; a `traceparent` in `headers` is continued."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract(headers)
        with self._tracer.start_as_current_span(
            f"{method} {path}", parent, SpanKind.SERVER, record_exception=False
        ) as span:
            yield span


def tracing_of(settings: TracingSettings) -> Tracing | None:
    """Return what `[tracing]` describes; `None` when it names no endpoint. Raises `SettingsError`."""
    if not settings.endpoint:
        return None
    exporter = _exporter()(settings.endpoint, timeout=_EXPORT_TIMEOUT_S)
    return Tracing.to(exporter, sample_ratio=settings.sample_ratio)


def check_extra(settings: TracingSettings) -> None:
    """Raise `SettingsError` when `tracing.endpoint` is set and the extra `otel` is not installed."""
    if settings.endpoint:
        _exporter()


def _exporter() -> "type[OTLPSpanExporter]":
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise SettingsError(f"{ENV_PREFIX}TRACING__ENDPOINT (tracing.endpoint in TOML): {_NEEDS}") from None
    return OTLPSpanExporter


class TracedObserver:
    """An observer whose phases are spans too."""

    def __init__(self, inner: Observer, tracing: Tracing) -> None:
        self._inner = inner
        self._tracing = tracing

    @contextmanager
    def phase(self, name: Phase) -> "Iterator[None]":
        """Measure, and make a span."""
        with ExitStack() as stack:
            stack.enter_context(self._inner.phase(name))
            stack.enter_context(self._tracing.phase(name))
            yield

    def begin(self, name: Phase) -> Callable[[], None]:
        """Measure, and make a span, until the result is called."""
        ends = self._inner.begin(name), self._tracing.begin(name)

        def end() -> None:
            for each in ends:
                each()

        return end

    def placed(self, region: str, reason: Reason, attempts: int) -> None:
        """Pass on."""
        self._inner.placed(region, reason, attempts)

    def forward_failed(self, region: str) -> None:
        """Pass on."""
        self._inner.forward_failed(region)

    def channel_orphaned(self, region: str) -> None:
        """Pass on."""
        self._inner.channel_orphaned(region)

    def report_failed(self, error: Exception) -> None:
        """Pass on."""
        self._inner.report_failed(error)

    def hint_ignored(self) -> None:
        """Pass on."""
        self._inner.hint_ignored()
