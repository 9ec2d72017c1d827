"""A fresh machine to rehearse an install page on: the commands run as they stand, and touch nothing of this one.

It has file systems, a network and processes of its own (`unshare`). What needs more than that is played: `sudo` does
what it is told, `apt-get` starts the Redis of this machine where Debian would, `systemctl` runs the units it finds.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.deploy.repository import ROOT
from tests.support.tools import miss

PLAYED: Final = Path(__file__).parent / "played"
"""Programs that stand for those of the machine."""

_PATH: Final = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin"

_MOUNTS: Final = """
set -eu
mount -t tmpfs tmpfs {scratch}
for place in /etc /opt /usr/local; do
    mkdir -p {scratch}$place/upper {scratch}$place/work
    mount -t overlay overlay -o lowerdir=$place,upperdir={scratch}$place/upper,workdir={scratch}$place/work $place
done
mkdir -p /etc/systemd/system
mount -t tmpfs tmpfs /mnt
ip link set lo up
cd {clone}
exec bash -euo pipefail {script}
"""


def blocks(page: str, heading: str) -> str:
    """Return the `bash` blocks of one section of a page, in order, as one script."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    found = re.findall(r"^( *)```bash\n(.*?)^ *```", section, re.MULTILINE | re.DOTALL)
    assert found, heading
    return "\n".join(re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found)


def wheels(directory: Path) -> Path:
    """Download what the lock files name, by the machine's own Python, so that the machine needs no network."""
    target = directory / "wheels"
    python = shutil.which("python3", path=_PATH)
    subprocess.run([str(python), "-m", "venv", directory / "downloader"], check=True)
    for lock in ("requirements.lock", "requirements-build.lock"):
        subprocess.run(
            [directory / "downloader/bin/pip", "download", "--quiet", "--require-hashes", "--only-binary", ":all:",
             "--disable-pip-version-check", "--dest", target, "--requirement", ROOT / lock],
            check=True,
        )  # fmt: skip
    return target


def clone(directory: Path) -> Path:
    """Copy the files of the repository, as a clone has them."""
    target = directory / "clone"
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, tracked.split("\0")):
        source = ROOT / name
        if source.is_file() and not name.startswith(("tests/", "docs/img/")):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    return target


def run(script: str, directory: Path, *, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a script on a fresh machine, in a clone of this repository."""
    for program in ("unshare", "ip", "redis-server"):
        if shutil.which(program) is None:
            miss(
                f"{program} is not on PATH (Debian, Ubuntu: apt-get install util-linux iproute2 redis-server)"
            )
    scratch = directory / "scratch"
    scratch.mkdir()
    commands = directory / "commands.sh"
    commands.write_text(script)
    inside = directory / "inside.sh"
    inside.write_text(_MOUNTS.format(scratch=scratch, clone=clone(directory), script=commands))
    unshare = shlex.split("unshare --mount --net --pid --fork --mount-proc --kill-child")
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode != 0:
        miss("this user may not unshare file systems and network: run as root")
    environment = {
        "PATH": f"{PLAYED}:{_PATH}",
        "HOME": str(directory),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels(directory)),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PYTHON_OF_TESTS": sys.executable,
        "PLAYED_STATE": str(scratch),
        "PYTHONPATH_OF_TESTS": str(ROOT),
    }
    return subprocess.run(
        [*unshare, "bash", inside],
        env=environment, cwd=directory, capture_output=True, text=True, check=False, timeout=timeout_s,
    )  # fmt: skip


def is_possible() -> bool:
    """Whether this user may make such a machine."""
    return os.geteuid() == 0
