"""The two ids of a channel request: the logged one, and a unique one."""

import os


def unique_id(request_id: str) -> str:
    """Return an id for what a request holds in the registry: two callers may give their requests one id."""
    return f"{request_id}.{os.urandom(4).hex()}"


def logged_id(unique: str) -> str:
    """Return the request's id, under which its other lines are in the log."""
    return unique.rpartition(".")[0] or unique
