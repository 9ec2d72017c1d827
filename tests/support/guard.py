"""The last resort: ends the children of a test process that was killed itself and could not.

`timeout`, a CI service and pytest-xdist (ten seconds after it was stopped) kill a test process without
asking. So each test process with children has one guard, which reads from a pipe what runs. The pipe ends
with the test process, however that ends; then the guard kills what is left.
"""

import atexit
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress


def watch(group: int) -> None:
    """Have process group `group` killed when this process ends."""
    _tell(f"+{group}")


def release(group: int) -> None:
    """Leave `group` alone from now on: it has ended, and its number may be given to others."""
    _tell(f"-{group}")


def _tell(line: str) -> None:
    pipe = _guard().stdin
    assert pipe is not None
    pipe.write(f"{line}\n".encode())


@functools.cache
def _guard() -> subprocess.Popen[bytes]:
    guard = subprocess.Popen(
        [sys.executable, "-I", __file__],
        stdin=subprocess.PIPE,
        bufsize=0,  # a line that waits in a buffer dies with this process
        start_new_session=True,  # Ctrl-C is not for the guard
    )
    atexit.register(guard.communicate)
    return guard


def _groups_left(lines: Iterable[str]) -> set[int]:
    """Return the groups that were watched and not released when `lines` ended."""
    groups: set[int] = set()
    for line in lines:
        change = groups.add if line.startswith("+") else groups.discard
        change(int(line[1:]))
    return groups


if __name__ == "__main__":
    for group in _groups_left(sys.stdin):
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
