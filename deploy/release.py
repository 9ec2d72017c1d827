#!/usr/bin/env python3
"""Makes one version of all places that name one, and gives the changelog's section of it.

    scripts/release 0.2.0            writes the version everywhere, and opens a section in CHANGELOG.md
    scripts/release --check 0.2.0    fails when a place has another version, or the changelog has no section
    scripts/release --notes 0.2.0    prints the changelog's section

Then: look at the difference, commit it, tag the commit `v0.2.0` and push the tag; the release workflow does the rest.
"""

import argparse
import datetime as dt
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]

PLACES: Final = {
    "app/__init__.py": r'(?<=^__version__ = ")[^"]+',
    "k8s/chart/Chart.yaml": r"(?<=^version: )\S+|(?<=^appVersion: )\S+",
    "k8s/overlays/example/kustomization.yaml": r"(?<=^    newTag: )\S+",
    "docs/install.md": r"(?<=REGISTRY/sfu-gateway:)[0-9][\w.]*",
}
"""Every file that names the version, and where in it."""

_VERSION: Final = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?")
_UNRELEASED: Final = "## Unreleased\n"


def main() -> int:
    """Do what is asked; 1 when something is not as it should be."""
    parser = argparse.ArgumentParser(
        prog="scripts/release", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("version")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="write nothing; fail when a place differs")
    what.add_argument("--notes", action="store_true", help="print the changelog's section")
    options = parser.parse_args()
    if not _VERSION.fullmatch(options.version):
        parser.error(f"{options.version}: give a version as 1.2.3 or 1.2.3-rc.1")
    if options.notes:
        sys.stdout.write(notes(ROOT, options.version))
        return 0
    if options.check:
        wrong = differences(ROOT, options.version)
        sys.stderr.writelines(f"{line}\n" for line in wrong)
        return int(bool(wrong))
    write(ROOT, options.version, dt.datetime.now(dt.UTC).date())
    return subprocess.run([ROOT / "scripts" / "manifests"], check=False).returncode


def write(root: Path, version: str, today: dt.date) -> None:
    """Write the version to all places below `root`, and open its section in the changelog."""
    for name, pattern in PLACES.items():
        path = root / name
        text, count = re.subn(pattern, version, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        if not count:
            raise SystemExit(f"{name}: names no version")
        path.write_text(text, encoding="utf-8")
    changelog = root / "CHANGELOG.md"
    text = changelog.read_text(encoding="utf-8")
    if _UNRELEASED not in text:
        raise SystemExit("CHANGELOG.md: has no section 'Unreleased'")
    section = f"{_UNRELEASED}\n## {version} - {today.isoformat()}\n"
    changelog.write_text(text.replace(_UNRELEASED, section, 1), encoding="utf-8")


def differences(root: Path, version: str) -> list[str]:
    """Return a sentence for each place that has another version, and for a changelog without a section."""
    found = []
    for name, pattern in PLACES.items():
        versions = re.findall(pattern, (root / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
        if set(versions) != {version}:
            found.append(f"{name}: has {', '.join(sorted(set(versions))) or 'no version'}, not {version}")
    try:
        notes(root, version)
    except SystemExit as error:
        found.append(str(error))
    return found


def notes(root: Path, version: str) -> str:
    """Return the changelog's section of a version. Raises `SystemExit` when it has none, or an empty one."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    for section in sections:
        title, _, body = section.partition("\n")
        if title.split(" ")[0] == version and body.strip():
            return body.strip() + "\n"
    raise SystemExit(f"CHANGELOG.md: has no section {version} with something in it")


if __name__ == "__main__":
    sys.exit(main())
