"""Where a command reads the fleet: Redis or a gateway; `source.py` is the entry."""
