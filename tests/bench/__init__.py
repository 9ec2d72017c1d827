"""Measurements, run by `scripts/bench` and never by pytest. `docs/placement.md` is written up from them."""
