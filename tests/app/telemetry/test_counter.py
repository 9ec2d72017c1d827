"""A counter whose exposition is that of the client library's."""

from prometheus_client import CollectorRegistry, Counter

from app.telemetry.counter import FastCounter
from tests.app.telemetry.test_histogram import exposition_of

LABELS = ("route", "code")


def test_the_exposition_is_that_of_the_client_library() -> None:
    fast, slow = CollectorRegistry(), CollectorRegistry()
    ours = FastCounter("asked", "Requests.", LABELS, fast)
    theirs = Counter("asked", "Requests.", LABELS, registry=slow)
    for labels in (("/a", "200"), ("/a", "404"), ("/a", "200"), ("/b", "200")):
        ours.counter(*labels)()
        theirs.labels(*labels).inc()
    assert exposition_of(fast) == exposition_of(slow)


def test_a_series_is_there_before_its_first_event() -> None:
    fast, slow = CollectorRegistry(), CollectorRegistry()
    FastCounter("asked", "Requests.", LABELS, fast).counter("/a", "200")
    Counter("asked", "Requests.", LABELS, registry=slow).labels("/a", "200")
    assert exposition_of(fast) == exposition_of(slow)
