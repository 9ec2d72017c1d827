"""docs/migration.md: what it says of this gateway is so."""

import csv
import re
from pathlib import Path
from typing import Final

from app.settings.loader import load_settings
from app.settings.model import setting_names
from tests.deploy.repository import ROOT

PAGE: Final = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
KEY: Final = "bm90IGEgc2VjcmV0LCBvbmx5IGZvciB0aGUgdGVzdHM="


def toml_blocks() -> list[str]:
    return [
        re.sub(r"^  ", "", block, flags=re.MULTILINE) if indent else block
        for indent, block in re.findall(r"^( *)```toml\n(.*?)^ *```", PAGE, re.MULTILINE | re.DOTALL)
    ]


def test_its_secrets_file_is_a_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "secrets.toml"
    file.write_text(toml_blocks()[0])
    settings = load_settings(file, {"SFU_GATEWAY_KEY": KEY, "SFU_GATEWAY_TRUST_PROXY": "true"})
    assert [(sfu.address, sfu.region) for sfu in settings.sfu] == [
        ("http://sfu1.example.com:8070", "eu-west"),
        ("http://sfu2.example.com:8070", "us-east"),
    ]
    assert settings.trust_proxy.hops == 1
    assert settings.missing_to_serve() is None


def test_every_other_example_is_a_settings_file(tmp_path: Path) -> None:
    for number, text in enumerate(toml_blocks()[1:]):
        file = tmp_path / f"{number}.toml"
        file.write_text(text)
        load_settings(file, {"SFU_GATEWAY_KEY": KEY})


def test_every_variable_is_a_setting() -> None:
    named = set(re.findall(r"\bSFU_GATEWAY_[A-Z_]+", PAGE))
    assert named <= {*setting_names(), "SFU_GATEWAY_CONFIG"}


def test_every_region_of_the_predecessor_is_known() -> None:
    with (ROOT / "app" / "data" / "regions.csv").open(encoding="utf-8") as file:
        known = {row[0] for row in csv.reader(file)}
    sentence = PAGE[PAGE.index("All thirteen regions") :].split("Two things")[0]
    named = set(re.findall(r"`([a-z]+-[a-z]+)`", sentence))
    assert len(named) == 13
    assert named <= known
