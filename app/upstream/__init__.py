"""The HTTP client for SFUs; `client.py` is the entry."""
