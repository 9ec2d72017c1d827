"""What `systemctl` does on the rehearsal machine (`tests.deploy.machine`): run the units that it finds.

Of a unit it follows what decides whether the program starts: `ExecStart`, `Environment`, `EnvironmentFile`,
`LoadCredential`, `User`, `WorkingDirectory` and the specifiers `%i` and `%d`.
"""

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

UNITS: Final = Path("/etc/systemd/system")
STATE: Final = Path(os.environ.get("PLAYED_STATE", "/nowhere"))
CREDENTIALS: Final = Path("/mnt/credentials")
"""As `/run/credentials` of systemd: a file system of the fresh machine that a service's user can reach."""
_SETTLE_S: Final = 3.0
"""A program that has a wrong setting has ended by then."""

_START_S: Final = 60.0
"""As long as systemd waits for a program to say that it is ready, or less."""


def main(verb: str, *words: str) -> int:
    """Do one command of `systemctl`."""
    names = [word for word in words if not word.startswith("-")]
    actions = {"enable": start, "start": start, "restart": restart, "stop": stop, "status": status}
    return max([actions[verb](name) for name in names if verb in actions], default=0)


def start(name: str) -> int:
    """Start a unit, and wait until it listens, or has had time to refuse its settings."""
    unit = Unit(name)
    environment = unit.environment()
    process = subprocess.Popen(
        unit.command(), env=environment, cwd=unit.directory(), user=unit.user(), start_new_session=True,
        stdout=(STATE / f"{name}.log").open("ab"), stderr=subprocess.STDOUT,
    )  # fmt: skip
    (STATE / f"{name}.pid").write_text(str(process.pid))
    port = environment.get("SFU_GATEWAY_PORT")
    deadline = time.monotonic() + (_START_S if port else _SETTLE_S)
    while process.poll() is None and time.monotonic() < deadline and not (port and _listens(int(port))):
        time.sleep(0.1)
    if process.poll() is None:
        return 0
    sys.stderr.write(f"{name} ended with {process.returncode}:\n{(STATE / f'{name}.log').read_text()}")
    return 1


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def stop(name: str) -> int:
    """End a unit that was started."""
    os.kill(int((STATE / f"{name}.pid").read_text()), signal.SIGTERM)
    return 0


def restart(name: str) -> int:
    """End a unit and start it again."""
    stop(name)
    time.sleep(_SETTLE_S)
    return start(name)


def status(name: str) -> int:
    """Say whether a unit runs; 3 when it does not, as `systemctl` has it."""
    try:
        os.kill(int((STATE / f"{name}.pid").read_text()), 0)
    except (OSError, ValueError):
        return 3
    sys.stdout.write(f"{name}: active (running)\n")
    return 0


class Unit:
    """A unit file with its instance."""

    def __init__(self, name: str) -> None:
        """Find the file of `name`, as `sfu-gateway@8071` is of `sfu-gateway@.service`."""
        self.name = name.removesuffix(".service")
        template, at, self.instance = self.name.partition("@")
        self._text = (UNITS / f"{template}{at}.service").read_text()

    def command(self) -> list[str]:
        """Return the words of `ExecStart`."""
        return self._values("ExecStart")[0].split()

    def user(self) -> str | None:
        """Return who runs it."""
        names = self._values("User")
        if names:
            pwd.getpwnam(names[0])  # raises where nobody made it
        return names[0] if names else None

    def directory(self) -> str:
        """Return where it runs."""
        return next(iter(self._values("WorkingDirectory")), "/")

    def environment(self) -> dict[str, str]:
        """Return its variables, with credentials handed over."""
        found = {"PATH": os.environ["PATH"]}
        for entry in self._values("Environment"):
            variable, _, value = entry.partition("=")
            found[variable] = value
        for path in self._values("EnvironmentFile"):
            found |= dict(re.findall(r"^(\w+)=(.*)$", Path(path).read_text(), re.MULTILINE))
        self._hand_over_credentials()
        return found

    def _hand_over_credentials(self) -> None:
        directory = CREDENTIALS / self.name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        for entry in self._values("LoadCredential"):
            credential, _, path = entry.partition(":")
            shutil.copyfile(path, directory / credential)
            (directory / credential).chmod(0o444)

    def _values(self, key: str) -> list[str]:
        text = self._text.replace("%i", self.instance).replace("%d", str(CREDENTIALS / self.name))
        return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
