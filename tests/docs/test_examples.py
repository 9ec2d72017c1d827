"""The examples of containers in the documentation hold what the pages ask for."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"


def services() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the services of every Compose example, and the containers of every pod."""
    for page in sorted(DOCS.glob("*.md")):
        for text in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            for document in yaml.safe_load_all(text):
                for service in document.get("services", {}).values():
                    yield "compose", service
                for container in document.get("spec", {}).get("containers", ()):
                    container["environment"] = {entry["name"]: entry for entry in container.get("env", ())}
                    yield "pod", container


def test_an_agent_has_no_health_check_of_a_gateway() -> None:
    agents = [item for kind, item in services() if kind == "compose" and item.get("command") == ["agent"]]
    assert agents
    assert all(agent["healthcheck"] == {"disable": True} for agent in agents)


def test_an_sfu_believes_the_gateway_about_callers() -> None:
    sfus = [item for _, item in services() if item["image"] == "odoo-sfu"]
    assert len(sfus) == 2
    assert all("PROXY" in sfu["environment"] for sfu in sfus)
