"""Metrics, tracing and fleet gauges; `metrics.py` is the entry."""
