"""Measurements, run by `scripts/bench` and never by pytest, which tests what they calculate (`tests/test_bench.py`).

`docs/placement.md`, `docs/sizing.md` and `docs/performance.md` are written up from them.
"""
