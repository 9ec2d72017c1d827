"""The page for operators and what feeds it; `files.py` serves it."""
