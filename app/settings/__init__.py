"""Every setting and how it is read; `model.py` is the entry."""
