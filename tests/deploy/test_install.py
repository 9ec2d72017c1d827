"""docs/install.md: its commands, run as they stand, and what it names."""

import re
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.deploy import machine
from tests.deploy.repository import K8S, ROOT

PAGE: Final = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")


@pytest.mark.rehearsal
def test_one_plain_machine_from_top_to_bottom(tmp_path: Path) -> None:
    if not machine.is_possible():
        pytest.skip("only root can make a machine to rehearse on")
    done = machine.run(machine.blocks("install.md", "One plain machine"), tmp_path)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.count('"status"') + done.stdout.count("ready") >= 2, done.stdout
    assert "sfu-gateway@8071: active" in done.stdout


def test_every_file_it_names_exists() -> None:
    named = set(re.findall(r"(?<![\w/.])((?:deploy|k8s|scripts|docs)/[\w@./-]+)", PAGE))
    assert len(named) > 8
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_values_that_it_sets_are_values_of_the_chart() -> None:
    values = yaml.safe_load((K8S / "chart" / "values.yaml").read_text())
    for path in re.findall(r"--set ([\w.]+)=", PAGE):
        found = values
        for step in path.split("."):
            found = found[step]


@pytest.mark.parametrize("page", ["docs/install.md", "docs/migration.md", "docs/odoo.md", "README.md"])
def test_no_page_names_a_package_or_an_image_that_is_nowhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert not re.findall(r"pipx? install (?:--\S+ )*['\"]?sfu[-_]gateway(?![-_\w]*VERSION)", text)
    assert not re.findall(r"(?:ghcr|docker|quay)\.io", text)
