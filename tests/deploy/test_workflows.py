"""The public CI runs what is run here, with no more rights than it needs."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.deploy.repository import ROOT, dockerfile
from tests.support.tools import required_tool

WORKFLOWS: Final = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job.get("steps", ())]


@pytest.mark.parametrize("name", ["tests", "deploy"])
def test_it_may_read_the_repository_and_nothing_else(name: str) -> None:
    path = ROOT / ".github" / "workflows" / f"{name}.yml"
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert not [job for job in workflow["jobs"].values() if "permissions" in job]
    assert "secrets." not in path.read_text()


class TestRelease:
    """The one workflow with rights: each job has the ones it needs."""

    JOBS: Final = read(ROOT / ".github" / "workflows" / "release.yml")["jobs"]

    def test_no_right_is_given_to_all_jobs(self) -> None:
        assert read(ROOT / ".github" / "workflows" / "release.yml")["permissions"] == {}
        assert all("permissions" in job for job in self.JOBS.values())

    def test_only_the_last_job_may_write_to_the_repository(self) -> None:
        writers = [name for name, job in self.JOBS.items() if job["permissions"].get("contents") == "write"]
        assert writers == ["release"]

    def test_code_of_the_repository_runs_without_a_right_to_write(self) -> None:
        for name in ("prepared", "tests", "deploy", "files"):
            assert self.JOBS[name]["permissions"] == {"contents": "read"}
            assert "secrets" not in str(self.JOBS[name])

    def test_secrets_are_those_of_a_protected_environment(self) -> None:
        for job in self.JOBS.values():
            assert ("secrets." in str(job)) == (job.get("environment") == "release")

    def test_nothing_is_published_before_the_tests_have_passed(self) -> None:
        assert self.JOBS["image"]["needs"] == ["tests", "deploy"]
        assert set(self.JOBS["release"]["needs"]) == {"files", "image", "chart"}

    def test_the_image_is_for_both_architectures_and_says_what_is_in_it(self) -> None:
        (build,) = [step["with"] for step in self.JOBS["image"]["steps"] if step.get("id") == "build"]
        assert build["platforms"] == "linux/amd64,linux/arm64"
        assert (build["sbom"], build["provenance"]) == (True, "mode=max")
        given = set(re.findall(r"^(\w+)=", build["build-args"], re.MULTILINE))
        assert given == {rest.split("=")[0] for name, rest in dockerfile() if name == "ARG"}


def test_actionlint_finds_nothing() -> None:
    actionlint = shutil.which("actionlint", path=f"{Path.home() / 'go' / 'bin'}:/usr/local/bin:/usr/bin")
    if actionlint is None:
        pytest.skip("no actionlint: go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.7")
    done = subprocess.run([actionlint, *WORKFLOWS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_zizmor_finds_nothing() -> None:
    zizmor = required_tool("zizmor", "pip install zizmor")
    options = ("--offline", "--no-progress", "--min-severity", "medium")
    done = subprocess.run([zizmor, *options, ROOT / ".github"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@each_workflow
def test_actions_are_pinned_to_a_commit_with_its_version_beside_it(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if "uses:" in line and "uses: ./" not in line]
    assert lines
    assert [line for line in lines if not re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)] == []


@each_workflow
def test_no_job_runs_for_ever(path: Path) -> None:
    assert all("timeout-minutes" in job for job in read(path)["jobs"].values() if "steps" in job)


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
