"""Everything that speaks to Redis; `registry.py` is the entry."""
