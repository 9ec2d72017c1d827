"""The architecture page names files that exist, and every package of the application."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_path_on_the_page_exists() -> None:
    paths = set(re.findall(r"\b(?:app|workers|lua|tests|k8s|docs|scripts)/[\w/.-]*\w", PAGE))
    assert len(paths) > 30
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []


def test_every_package_and_module_of_the_top_level_is_on_the_page() -> None:
    names = {
        path.stem
        for path in (ROOT / "app").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    names -= {"__init__", "__main__"}
    assert sorted(name for name in names if f"app/{name}" not in PAGE) == []
