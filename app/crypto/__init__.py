"""Tokens and the sealing of keys at rest; `tokens.py` is the entry."""
