"""One vocabulary: whoever speaks of an SFU's state uses the words of `app.states`."""

import re
from pathlib import Path
from typing import Final

from app.states import REASONS, STATES

ROOT: Final = Path(__file__).parents[2]


def words_of(name: str) -> set[str]:
    """The words that a Lua function returns first or second."""
    text = (ROOT / "lua" / "includes" / f"{name}.lua").read_text(encoding="utf-8")
    returned = re.findall(r"^\s*return (.*)$", text, re.MULTILINE)
    return {word for line in returned for word in re.findall(r"'([a-z-]+)'", line)}


def test_the_scripts_derive_these_states() -> None:
    tiers, inner = {"load", "ejected", "overloaded"}, {"down"}
    derived = words_of("node_state") | words_of("node_health") | words_of("node_capacity")
    known = {*STATES, *(reason for reasons in REASONS.values() for reason in reasons)}
    assert derived - tiers - inner <= known
    assert set(STATES) <= derived | inner


def test_the_page_has_a_word_for_each_state_and_no_other() -> None:
    script = (ROOT / "app" / "dashboard" / "static" / "states.js").read_text(encoding="utf-8")
    looks = script.partition("const LOOKS = {")[2].partition("};")[0]
    labels = dict(re.findall(r"\"?([a-z-]+)\"?: \{ tone: \"\w+\", label: \"([\w -]+)\" \}", looks))
    assert labels.keys() == set(STATES)
    assert {label.lower().replace(" ", "-") for label in labels.values()} <= {*STATES}, (
        "the label is the word itself"
    )


def test_the_runbooks_explain_each_state_and_its_reasons() -> None:
    runbooks = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
    table = runbooks.partition("\n## States\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \|([^|]*)\|", table, re.MULTILINE)
    assert {state: tuple(re.findall(r"`([a-z]+)`", reasons)) for state, reasons in rows} == {
        state: REASONS.get(state, ()) for state in STATES
    }
