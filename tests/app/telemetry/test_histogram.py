"""A histogram whose exposition is that of the client library's."""

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from app.telemetry.histogram import FastHistogram

BUCKETS = (0.001, 0.1, 1.0)
AMOUNTS = (0.0, 0.001, 0.0011, 0.5, 1.0, 7.0)


def exposition_of(registry: CollectorRegistry) -> list[str]:
    """The text of a registry, without the times of creation."""
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


def test_the_exposition_is_that_of_the_client_library() -> None:
    fast, slow = CollectorRegistry(), CollectorRegistry()
    ours = FastHistogram("took_seconds", "Time.", "phase", fast, BUCKETS)
    theirs = Histogram("took_seconds", "Time.", ["phase"], registry=slow, buckets=BUCKETS)
    for phase in ("select", "forward"):
        for amount in AMOUNTS:
            ours.observer(phase)(amount)
            theirs.labels(phase).observe(amount)
    assert exposition_of(fast) == exposition_of(slow)


def test_observers_of_one_label_share_a_series() -> None:
    registry = CollectorRegistry()
    histogram = FastHistogram("took_seconds", "Time.", "phase", registry, BUCKETS)
    histogram.observer("select")(0.5)
    histogram.observer("select")(0.5)
    assert 'took_seconds_count{phase="select"} 2.0' in exposition_of(registry)
