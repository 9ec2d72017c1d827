"""Every relative link of a page leads to a file, and to a heading of it where it names one."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
_LINK: Final = re.compile(r"\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]+))?\)")
_FENCE: Final = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)


def pages() -> Iterator[str]:
    """Return the paths of all Markdown pages under version control."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return (line for line in listed.stdout.splitlines() if (ROOT / line).exists())


@cache
def anchors(path: Path) -> frozenset[str]:
    """Return the anchors that a forge makes of the headings of a page."""
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    slugs: list[str] = []
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        slug = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        slugs.append(f"{slug}-{slugs.count(slug)}" if slug in slugs else slug)
    return frozenset(slugs) | frozenset(re.findall(r'<a (?:id|name)="([^"]+)"', text))


@pytest.mark.parametrize("page", sorted(pages()))
def test_links_of_a_page_lead_to_files_and_headings(page: str) -> None:
    text = _FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    broken = []
    for target, anchor in _LINK.findall(text):
        path = (ROOT / page).parent / target if target else ROOT / page
        if not path.exists():
            broken.append(target)
        elif anchor and path.suffix == ".md" and anchor not in anchors(path.resolve()):
            broken.append(f"{target}#{anchor}")
    assert broken == []
