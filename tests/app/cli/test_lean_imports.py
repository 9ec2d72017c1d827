"""Imports that do without a package that is installed, and without the garbage collector."""

import gc
import importlib
import sys

import pytest

from app.cli.lean_imports import imports_without, uncollected


@pytest.fixture(autouse=True)
def _not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the standard library, and nobody here has use for it: as if it had never been loaded."""
    monkeypatch.delitem(sys.modules, "this", raising=False)


def test_inside_the_block_there_is_no_such_package_and_after_it_there_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with imports_without("this"), pytest.raises(ModuleNotFoundError):
        importlib.import_module("this")
    assert importlib.import_module("this").__name__ == "this"
    assert "Zen" in capsys.readouterr().out


def test_what_is_loaded_stays() -> None:
    with imports_without("json"):
        assert importlib.import_module("json") is sys.modules["json"]


def test_an_error_inside_hides_nothing_for_good() -> None:
    with pytest.raises(ZeroDivisionError), imports_without("this"):
        raise ZeroDivisionError
    assert "this" not in sys.modules


def test_the_collector_rests_inside_the_block_and_looks_at_nothing_that_was_there() -> None:
    with uncollected():
        assert not gc.isenabled()
        loaded: list[object] = [[]]
    assert gc.isenabled()
    assert all(each is not loaded for each in gc.get_objects())
