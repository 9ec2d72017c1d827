"""The conformance command; `runner.py` is the entry."""
