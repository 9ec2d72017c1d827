"""The units for plain machines: systemd accepts them, and the gateway knows what they set."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from typer.main import get_command

from app.cli.main import cli
from app.settings.loader import SECRETS
from app.settings.model import ENV_PREFIX, setting_names
from tests.deploy.repository import ROOT
from tests.support.tools import required_tool
from workers.agent.settings import variable_names

UNITS: Final = ROOT / "deploy" / "systemd"
OURS: Final = ("sfu-gateway@.service", "sfu-gateway-sweeper.service", "sfu-gateway-agent.service")
ALL: Final = sorted(path.name for path in UNITS.glob("*.service"))

MOST_EXPOSURE: Final = 35
"""Of 100, as `systemd-analyze security` counts."""

PROGRAM: Final = "/opt/sfu-gateway/bin/sfu-gateway"

each_unit = pytest.mark.parametrize("name", ALL)
each_of_ours = pytest.mark.parametrize("name", OURS)


def lines(name: str, key: str) -> list[str]:
    """Return the values of one key of a unit, in order."""
    return re.findall(rf"^{key}=(.*)$", (UNITS / name).read_text(), re.MULTILINE)


def variables(name: str) -> list[str]:
    """Return every variable that a unit sets, in itself and in its files."""
    found = [entry.partition("=")[0] for entry in lines(name, "Environment")]
    for path in lines(name, "EnvironmentFile"):
        found += re.findall(r"^(\w+)=", (UNITS / Path(path).name).read_text(), re.MULTILINE)
    return found


@pytest.fixture
def analyze(tmp_path: Path) -> Any:
    """Return a call of `systemd-analyze` on a unit, as an instance where it is a template."""
    program = required_tool("systemd-analyze", "apt-get install systemd")

    def run(verb: str, name: str, *options: str) -> subprocess.CompletedProcess[str]:
        unit = tmp_path / name.replace("@.", "@8071.")
        text = (UNITS / name).read_text()
        unit.write_text(
            re.sub(r"^ExecStart=\S+", f"ExecStart={shutil.which('true')}", text, flags=re.MULTILINE)
        )
        return subprocess.run([program, verb, *options, unit], capture_output=True, text=True, check=False)

    return run


@each_unit
def test_systemd_finds_nothing(analyze: Any, name: str) -> None:
    done = analyze("verify", name)
    assert (done.returncode, done.stderr) == (0, "")


@each_unit
def test_it_can_do_little_to_the_machine(analyze: Any, name: str) -> None:
    done = analyze("security", name, "--offline=true", f"--threshold={MOST_EXPOSURE}")
    if "Unknown" in done.stderr:
        pytest.skip("this systemd has no --offline")
    assert done.returncode == 0, done.stdout.splitlines()[-1]


@each_unit
def test_it_is_started_again_however_often_it_ends(name: str) -> None:
    """systemd's default gives up after five starts in ten seconds, which a start a second reaches."""
    assert lines(name, "Restart") == ["always"]
    assert lines(name, "StartLimitIntervalSec") == ["0"]


@each_of_ours
def test_it_runs_a_command_of_ours_from_where_the_install_page_puts_it(name: str) -> None:
    (program, command), commands = lines(name, "ExecStart")[0].split(), get_command(cli)
    assert program == PROGRAM
    assert command in commands.commands  # type: ignore[attr-defined]
    assert f"python3 -m venv {Path(PROGRAM).parents[1]}" in (ROOT / "docs" / "install.md").read_text()


@each_of_ours
def test_it_sets_variables_that_are_settings(name: str) -> None:
    known = {*setting_names(), *variable_names(), *(f"{ENV_PREFIX}{secret}_FILE" for secret in SECRETS)}
    agents = {"HTTP_INTERFACE", "PROXY", "RTC_MIN_PORT", "RTC_MAX_PORT"}  # the SFU's, from their common file
    assert set(variables(name)) - known - agents == set()


@each_of_ours
def test_every_secret_is_a_file_that_systemd_hands_over(name: str) -> None:
    credentials = dict(entry.split(":") for entry in lines(name, "LoadCredential"))
    files = {
        entry.partition("=")[2]
        for entry in lines(name, "Environment")
        if entry.partition("=")[0].endswith("_FILE")
    }
    assert files == {f"%d/{credential}" for credential in credentials}
    assert {Path(path).parent for path in credentials.values()} == {Path("/etc/sfu-gateway/secrets")}
    assert not [
        variable for variable in variables(name) if variable in ("SFU_GATEWAY_KEY", "SFU_GATEWAY_REDIS__URL")
    ]


@each_of_ours
def test_a_wrong_setting_is_not_tried_again(name: str) -> None:
    assert lines(name, "RestartPreventExitStatus") == ["3"]


def test_the_agent_may_drain_as_long_as_its_settings_say() -> None:
    (stop,) = lines("sfu-gateway-agent.service", "TimeoutStopSec")
    assert int(stop) > 3600
    assert "odoo-sfu.service" in lines("sfu-gateway-agent.service", "After")[0]


def test_no_file_has_a_secret() -> None:
    text = "".join(path.read_text() for path in UNITS.iterdir())
    assert not re.findall(r"[A-Za-z0-9+/]{40,}=*", text)


def test_nothing_that_listens_takes_a_port_of_odoo() -> None:
    """8069 and 8072 are Odoo's own on the same machine."""
    text = "".join(
        path.read_text() for path in (ROOT / "deploy").rglob("*") if path.is_file() and path.suffix != ".pyc"
    )
    assert not re.findall(r"\b80(?:69|72)\b", text)
