"""The HTTP surface; `routes.py` is the entry."""
