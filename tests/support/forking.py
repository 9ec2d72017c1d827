"""Children that need no imports: they are forked from a process that has made them.

Imports are four fifths of what the start of a replica costs, and the suite starts some hundreds of processes.
"""

import functools
import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, BinaryIO, Final

from tests.support.processes import Child, Process

_IMPORTED: Final = (
    "app.cli.main",
    "app.main",
    "app.server.uvicorn_server",
    "workers.agent.agent",
    "workers.simulator.fleet",
)


class ModuleProcess(Process):
    """A child that runs `python -m module`, with an id, environment, session and output of its own.

    It is an interpreter of its own where a variable is set that an interpreter or its loader reads when it starts,
    with words `before` its command, and without `forks`: a fork shares memory.
    """

    def __init__(
        self, module: str, *arguments: str, before: Sequence[str] = (), forks: bool = True, **options: Any
    ) -> None:
        """Describe the child; `start` runs it. The other options are those of `Process`."""
        self._forks = forks and not before
        super().__init__([*before, sys.executable, "-m", module, *arguments], **options)

    def _spawn(self, log: BinaryIO) -> Child:
        if self._forks and not any(name.startswith(("COVERAGE_", "LD_", "PYTHON")) for name in self._env):
            return _ForkedChild(self._argv[2:], self._log, self._env, self._cwd or Path.cwd())
        return super()._spawn(log)


class _ForkedChild:
    def __init__(self, argv: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path) -> None:
        self._process = _fork_server().Process(target=_run, args=(argv, log, env, cwd), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid
        with suppress(ProcessLookupError):  # it has ended
            while os.getpgid(self.pid) != self.pid and self.poll() is None:
                os.sched_yield()

    def poll(self) -> int | None:
        return self._process.exitcode


@functools.cache
def _fork_server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_IMPORTED))
    return context


def _run(argv: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path) -> None:
    os.setsid()
    with Path(os.devnull).open("rb") as nothing, log.open("ab") as output:
        for stream, file in ((0, nothing), (1, output), (2, output)):
            os.dup2(file.fileno(), stream)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = list(argv)
    runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
