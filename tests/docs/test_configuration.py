"""The reference of settings: complete, current, and with an example that loads."""

import re
from pathlib import Path

import pytest

from app.settings.loader import load_settings
from app.settings.model import BalancingSettings, FailoverSettings, HealthSettings, Settings, setting_names
from docs.renderers.configuration import configuration_page

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"

PAGE = configuration_page()


def test_the_page_in_docs_is_the_rendered_one() -> None:
    assert DOCS.read_text(encoding="utf-8") == PAGE, "run scripts/docs"


@pytest.fixture
def example(tmp_path: Path) -> Settings:
    """The settings of the page's TOML file."""
    [text] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "example.toml"
    file.write_text(text)
    return load_settings(file, environ={})


def test_the_roadmaps_sections_of_the_example_are_the_defaults(example: Settings) -> None:
    assert (example.balancing, example.failover, example.health) == (
        BalancingSettings(),
        FailoverSettings(),
        HealthSettings(),
    )


def test_the_example_could_be_served(example: Settings) -> None:
    assert example.missing_to_serve() is None
    assert list(example.warnings()) == []
    assert [sfu.region for sfu in example.static_sfus] == ["eu-west"]
    assert example.tenant[0].region == example.region[0].name == "eu-brussels"


def test_every_setting_has_a_row_with_its_meaning() -> None:
    rows = re.findall(r"^\| `[a-z_.]+` \| `(SFU_GATEWAY_\w+)` \| [^|]+ \| [^|]+ \| \S.+\. \|$", PAGE, re.M)
    arrays = {"SFU_GATEWAY_SFU", "SFU_GATEWAY_TENANT", "SFU_GATEWAY_REGION"}
    assert set(rows) == set(setting_names()) - arrays


@pytest.mark.parametrize(
    "row",
    [
        "| `port` | `SFU_GATEWAY_PORT` | whole number from 0 to 65535 | `8071` |",
        "| `key` | `SFU_GATEWAY_KEY` | keys | none |",
        "| `admin_token` | `SFU_GATEWAY_ADMIN_TOKEN` | secret text | none |",
        "| `balancing.strategy` | `SFU_GATEWAY_BALANCING__STRATEGY` | `load` or `round-robin` | `load` |",
        "| `balancing.weights.cpu` | `SFU_GATEWAY_BALANCING__WEIGHTS__CPU` | number, at least 0 | `0.3` |",
        "| `overload.max_load` | `SFU_GATEWAY_OVERLOAD__MAX_LOAD` | number above 0 | `0.9` |",
        "| `log.level` | `SFU_GATEWAY_LOG__LEVEL` | `debug`, `info`, `warning` or `error` | `info` |",
        "| `max_placements` | whole number, at least 1 | none |",
        "| `latitude` | number from -90 to 90 | required |",
    ],
)
def test_a_row_says_which_values_are_good_and_which_is_the_default(row: str) -> None:
    assert row in PAGE
