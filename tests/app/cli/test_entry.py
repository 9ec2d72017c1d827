"""What is the same for all commands."""

import io
import os
import subprocess
import sys

import pytest

from app.cli.entry import make_output_forgiving
from app.cli.exits import Exit


def test_what_a_terminal_cannot_show_ends_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii", write_through=True))
    make_output_forgiving()
    sys.stdout.write("caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{HORIZONTAL ELLIPSIS}")
    assert shown.getvalue() == b"caf? ?"


def test_a_closed_output_ends_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    make_output_forgiving()
    with sys.stdout:
        sys.stdout.write("to nobody")
        assert not sys.stdout.isatty()


@pytest.mark.parametrize("options", [[], ["--secrets", os.devnull]])
def test_serve_ends_with_one_line_for_a_wrong_setting_with_and_without_options(options: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", "serve", *options],
        env=os.environ | {"SFU_GATEWAY_PORTS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        Exit.SETTINGS,
        "SFU_GATEWAY_PORTS: there is no such setting\n",
    )
