"""Importing libraries without what they load only because it is installed.

structlog loads rich for tracebacks in colour, redis-py the SDK of OpenTelemetry for metrics of its own. Both ask
whether there is such a package, and do without where there is none. Of a replica that uses neither they would be
6 MB and a tenth of the time it takes to start.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def imports_without(*packages: str) -> Iterator[None]:
    """Let imports inside the block find no such `packages`, unless they are loaded already.

    `None` in `sys.modules` is Python's own way to say so:
    https://docs.python.org/3/reference/import.html#the-module-cache
    """
    hidden = [package for package in packages if package not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for package in hidden:
            del sys.modules[package]
