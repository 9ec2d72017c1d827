"""Regions, hints and distances; `choice.py` is the entry."""
