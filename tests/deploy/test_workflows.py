"""The public CI runs what is run here, with no more rights than it needs."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.deploy.repository import ROOT

WORKFLOWS: Final = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@each_workflow
def test_it_may_read_the_repository_and_nothing_else(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert not [name for name, job in workflow["jobs"].items() if "permissions" in job]
    assert "secrets." not in path.read_text()


@each_workflow
def test_actions_are_pinned_to_a_commit_with_its_version_beside_it(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if "uses:" in line]
    assert lines
    assert [line for line in lines if not re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)] == []


@each_workflow
def test_no_job_runs_for_ever(path: Path) -> None:
    assert all("timeout-minutes" in job for job in read(path)["jobs"].values())


@each_workflow
def test_no_step_puts_text_of_strangers_into_a_shell(path: Path) -> None:
    assert not [step for step in steps(read(path)) if "${{" in step.get("run", "")]


@each_workflow
def test_every_script_it_runs_exists(path: Path) -> None:
    commands = [step["run"] for step in steps(read(path)) if "run" in step]
    scripts = {name for command in commands for name in re.findall(r"\./scripts/([\w-]+)", command)}
    assert all((ROOT / "scripts" / name).exists() for name in scripts)


def test_every_supported_python_is_tested() -> None:
    (tests,) = [read(path) for path in WORKFLOWS if path.stem == "tests"]
    assert tests["jobs"]["python"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
