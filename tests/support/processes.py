"""Real child processes: started, awaited, signalled by their own id, and never left behind."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self, TypeAlias
from urllib.parse import urlsplit

import httpx

from tests.support import guard
from tests.support.plain_http import NO_CERTIFICATES
from tests.support.ports import HOST
from tests.support.waiting import eventually_sync

_INHERITED = ("HOME", "LANG", "PATH", "TMPDIR", "COVERAGE_PROCESS_CONFIG")
"""The variables that a child inherits: settings of the developer's shell must not change a test. The last one lets
`scripts/test --cov` measure the child."""

_TAIL_LINES = 40
_POLL_SECONDS = 0.01


class Child(Protocol):
    """The part of `subprocess.Popen` that a `Process` needs."""

    @property
    def pid(self) -> int:
        """The process id, also after it ended."""

    def poll(self) -> int | None:
        """Return the exit status; negative: the signal that ended it; None: it runs."""


class ProcessFailed(Exception):
    """A child ended early or was not ready in time; the message has the end of its output."""


class Process:
    """One child process and its log file. Sync, so that fixtures of any scope can hold it.

    As a context manager it is started on entry and terminated on exit. It may be started again after it
    ended. The child leads its own session: Ctrl-C in the terminal does not reach it, and what it leaves
    running in its process group is killed when it ends. It never outlives this process (see `guard`).

    Waiting blocks the thread. A test whose event loop must go on meanwhile uses `asyncio.to_thread`.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ready: "Readiness | None" = None,
        ready_seconds: float = 10,
    ) -> None:
        """Describe the child; `start` runs it.

        Args:
            argv: program and arguments; no shell.
            log: file to which its output and errors are appended; its stem names the process in messages.
            env: environment beside the few variables that are inherited.
            cwd: working directory; default: this process'.
            ready: says whether the child is ready for use; default: as soon as it runs.
            ready_seconds: how long `start` waits for that.
        """
        self._argv = [str(word) for word in argv]
        self._log = log
        self._env = {name: os.environ[name] for name in _INHERITED if name in os.environ} | dict(env or {})
        self._cwd = cwd
        self._ready = ready
        self._ready_seconds = ready_seconds
        self._started: Child | None = None
        self._status: int | None = None
        self._log_offset = 0

    def start(self) -> Self:
        """Run the child and wait until it is ready.

        Raises:
            ProcessFailed: it ended, or was not ready within `ready_seconds`; it no longer runs then.
        """
        if self.is_running:
            raise ProcessFailed(f"{self._log.stem} is already running")
        with self._log.open("ab") as log:
            self._log_offset = log.tell()
            self._started, self._status = self._spawn(log), None
        try:
            guard.watch(self.pid)
            if self._ready is not None:
                self._await(self._ready)
        except BaseException:
            self.kill()
            raise
        return self

    def _spawn(self, log: BinaryIO) -> Child:
        return subprocess.Popen(
            self._argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=self._env,
            cwd=self._cwd,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The process id of the child, also after it ended."""
        return self._child.pid

    @property
    def is_running(self) -> bool:
        """Whether the child was started and has not ended. A paused child is running."""
        return self._started is not None and self._poll() is None

    @property
    def output(self) -> str:
        """All that the child has written since its latest start."""
        with self._log.open("rb") as log:
            log.seek(self._log_offset)
            return log.read().decode(errors="replace")

    def wait(self, timeout_seconds: float = 10) -> int:
        """Return the exit status of a child that ends by itself; negative: the signal that ended it.

        Raises:
            ProcessFailed: it still runs after `timeout_seconds`.
        """
        deadline = time.monotonic() + timeout_seconds
        while (status := self._poll()) is None:
            if time.monotonic() >= deadline:
                raise self._failure(f"still runs after {timeout_seconds:g} s")
            time.sleep(_POLL_SECONDS)
        return status

    def terminate(self, grace_seconds: float = 5) -> int:
        """Ask the child to end (SIGTERM), kill it after `grace_seconds`, and return its exit status.

        Only the child itself is asked, as Kubernetes does. A status of -9 says that it did not listen.
        """
        if self.is_running:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            self.resume()  # a paused child would never notice
        try:
            return self.wait(grace_seconds)
        except ProcessFailed:
            return self.kill()

    def kill(self) -> int:
        """End the child and its process group at once (SIGKILL) and return its exit status."""
        self._signal_group(signal.SIGKILL)
        return self.wait()

    def pause(self) -> None:
        """Stop the child and its process group (SIGSTOP): sockets stay open, nothing is answered."""
        self._signal_group(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused child go on (SIGCONT)."""
        self._signal_group(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.terminate()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._log.stem}>"

    @property
    def _child(self) -> Child:
        if self._started is None:
            raise ProcessFailed(f"{self._log.stem} was never started")
        return self._started

    def _poll(self) -> int | None:
        """Return the exit status, None while the child runs; on its end, kill what is left of its group."""
        if self._status is None:
            self._status = self._child.poll()
            if self._status is not None:
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
                guard.release(self.pid)
        return self._status

    def _signal_group(self, number: signal.Signals) -> None:
        # An ended child's id may belong to somebody else.
        if self._poll() is None:
            with suppress(ProcessLookupError):  # a forked one may have ended, and is not yet said to have
                os.killpg(self._child.pid, number)

    def _await(self, ready: "Readiness") -> None:
        def is_ready() -> bool:
            # Asked first: another server may have answered, on a port that this child failed to get.
            answer = ready(self)
            if not self.is_running:
                raise self._failure(f"ended with status {self.wait()} before it was ready")
            return answer

        try:
            eventually_sync(is_ready, timeout_seconds=self._ready_seconds, interval_seconds=_POLL_SECONDS)
        except AssertionError as error:
            raise self._failure(f"is not ready after {self._ready_seconds:g} s") from error

    def _failure(self, what: str) -> ProcessFailed:
        tail = "\n".join(self.output.splitlines()[-_TAIL_LINES:])
        return ProcessFailed(f"{self._log.stem} {what}: {' '.join(self._argv)}\n{tail or '(no output)'}")


Readiness: TypeAlias = Callable[[Process], bool]
"""Says whether a started process is ready; it is asked again and again until it says so."""


def accepts(port: int, host: str = HOST) -> Readiness:
    """Ready when TCP connections to `port` are accepted."""

    def check(_: Process) -> bool:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            return False
        return True

    return check


def answers(url: str, status: int = 200) -> Readiness:
    """Ready when `GET url` is answered with `status`."""

    address = urlsplit(url)
    assert address.hostname
    assert address.port
    listens = accepts(address.port, address.hostname)

    def check(process: Process) -> bool:
        if not listens(process):  # a cheap question, for a client of httpx is not
            return False
        try:
            return httpx.get(url, timeout=1, trust_env=False, verify=NO_CERTIFICATES).status_code == status
        except httpx.TransportError:
            return False

    return check


def prints(pattern: str) -> Readiness:
    """Ready when the regular expression `pattern` is found in the output."""
    compiled = re.compile(pattern, re.MULTILINE)
    return lambda process: compiled.search(process.output) is not None
