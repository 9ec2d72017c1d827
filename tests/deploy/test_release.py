"""`scripts/release`: one command, every version."""

import datetime as dt
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from app import __version__
from deploy import release
from tests.deploy.repository import ROOT

CHANGELOG: Final = "# Changelog\n\n## Unreleased\n\n### Added\n- Something.\n"
TODAY: Final = dt.date(2026, 1, 2)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The files that name the version, as they are."""
    for name in release.PLACES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    return tmp_path


def test_every_place_has_the_version_of_the_code() -> None:
    found = release.differences(ROOT, __version__)
    assert [line for line in found if "CHANGELOG" not in line] == []


def test_a_release_changes_every_place_and_dates_the_changelog(repository: Path) -> None:
    release.write(repository, "1.2.3", TODAY)
    assert release.differences(repository, "1.2.3") == []
    assert release.notes(repository, "1.2.3") == "### Added\n- Something.\n"
    assert "## Unreleased\n\n## 1.2.3 - 2026-01-02\n" in (repository / "CHANGELOG.md").read_text()


def test_every_place_that_differs_is_named(repository: Path) -> None:
    named = {line.split(":")[0] for line in release.differences(repository, "9.9.9")}
    assert named == {*release.PLACES, "CHANGELOG.md"}


def test_an_empty_section_is_no_release(repository: Path) -> None:
    (repository / "CHANGELOG.md").write_text(
        "# Changelog\n\n## Unreleased\n\n## 1.2.3 - 2026-01-02\n\n## 1.2.2\n- Old.\n"
    )
    with pytest.raises(SystemExit, match=r"no section 1\.2\.3"):
        release.notes(repository, "1.2.3")


@pytest.mark.parametrize("version", ["v1.2.3", "1.2", "latest"])
def test_what_is_no_version_is_refused(version: str) -> None:
    done = subprocess.run(
        [ROOT / "scripts" / "release", "--check", version], capture_output=True, check=False
    )
    assert done.returncode == 2


def test_no_file_that_is_deployed_names_a_version_beside_these() -> None:
    """A rendered file is not a place: scripts/manifests writes it."""
    text = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "Dockerfile", ROOT / "docker-compose.yml", ROOT / "docker-compose.sfu.yml")
    )
    assert __version__ not in text
