"""What the report makes of a record."""

from pathlib import Path
from typing import Any

import pytest

from tests.chaos.report import BEGIN, END, main, render
from tests.chaos.rows import Row


def record(row: str, engine: str = "redis", *, kept: bool | None = True, **more: Any) -> dict[str, Any]:
    """Return one line of a record."""
    line = {"row": row, "engine": engine, "kept": kept, "length": "full"}
    return line | {"fault": "a fault", "promise": "a promise", "figure": "a figure"} | more


def test_each_engine_has_a_column_and_each_row_a_verdict() -> None:
    text = render([record("R2"), record("R10", kept=False), record("R2", "cluster", kept=None)])
    assert "| row | promise | Redis | Cluster |" in text
    assert "| R2 | a promise | kept | n/a |" in text
    assert "| R10 | a promise | **not kept** | not run |" in text
    assert text.index("| R2 |") < text.index("| R10 |")


def test_it_says_which_rows_were_shortened() -> None:
    mixed = [record("R1"), record("R4", length="short"), record("R11", length="short", kept=None)]
    text = render([*mixed, record("R1", "valkey", length="short")])
    assert "### On Redis, rows in full length, but for R4" in text
    assert "### On Valkey, shortened rows" in text
    assert "| row | promise | Redis | Valkey (short) |" in text
    assert "Redis: rows in full length, but for R4; Valkey: shortened rows. A shortened row has" in text


def test_it_says_which_of_shortened_rows_ran_in_full_length() -> None:
    text = render([record("R9"), *(record(f"R{number}", length="short") for number in (1, 2))])
    assert "### On Redis, shortened rows, but for R9 in full length" in text
    assert "| row | promise | Redis |" in text


def test_rows_in_full_length_need_no_explanation() -> None:
    assert "rows in full length.\n" in render([record("R1"), record("R11", length="short", kept=None)])


def test_the_later_of_two_runs_counts() -> None:
    text = render([record("R1", kept=False, figure="first"), record("R1", figure="second")])
    assert "second" in text
    assert "first" not in text


def test_what_a_row_records_is_what_the_report_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, document = tmp_path / "record", tmp_path / "document.md"
    monkeypatch.setenv("SFU_CHAOS_RECORD", str(path))
    monkeypatch.delenv("SFU_CHAOS", raising=False)
    Row("R1", "a fault", "a promise", "redis").record("all well", kept=True)
    with pytest.raises(pytest.skip.Exception):
        Row("R11", "a fault", "a promise", "redis").skip("one server")
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    main(path, document)
    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "| R1 | a fault | all well | kept |" in text
    assert "| R11 | a fault | n/a: one server | n/a |" in text
    assert "old" not in text
