"""Fleet events and their feed; `feed.py` is the entry."""
