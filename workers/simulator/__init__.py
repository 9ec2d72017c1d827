"""Simulated SFUs; `fleet.py` is the entry."""
