"""The `sfu-gateway` command; `main.py` is the entry."""
