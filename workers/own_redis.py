"""A Redis of a demo's own: started for it, hung by it, and gone with it."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

BINARIES: Final = ("redis-server", "valkey-server")
_START_S: Final = 10.0
_END_S: Final = 5.0


class OwnRedis:
    """A running server. It listens on loopback only, with a password, and keeps nothing."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str) -> None:
        self.url = url
        self._process = process

    def hang(self) -> None:
        """Stop it: it takes connections, and answers nobody."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again."""
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def own_redis() -> Iterator[OwnRedis | None]:
    """Run a server inside the block; `None` where there is none to run."""
    binary = next(filter(None, map(shutil.which, BINARIES)), None)
    if binary is None:
        yield None
        return
    password = secrets.token_hex(16)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        settings = (
            f'bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ""\nappendonly no\ndir {directory}\n'
        )
        process = subprocess.Popen(  # noqa: S603 - found on the path of whoever runs the demo
            [binary, "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C ends the demo, which ends it
            env={"PATH": os.environ.get("PATH", "")},
        )
        try:
            with process.stdin as written:  # type: ignore[union-attr]
                written.write(settings.encode())
            _await_port(process, port)
            yield OwnRedis(process, f"redis://:{password}@127.0.0.1:{port}")
        finally:
            _end(process)


def _await_port(process: "subprocess.Popen[bytes]", port: int) -> None:
    """Return when it listens. Raises `OSError` when it does not."""
    ends_at = time.monotonic() + _START_S
    while time.monotonic() < ends_at and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise OSError(0, "its own Redis did not start")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGCONT)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_S)
    if process.poll() is None:
        process.kill()
        process.wait()
