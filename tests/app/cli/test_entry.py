"""What is the same for all commands."""

import io
import sys

import pytest

from app.cli.entry import make_output_forgiving


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
